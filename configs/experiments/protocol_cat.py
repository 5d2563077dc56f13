# Protocol-CAT: as protocol_mvss.py, every model trained on the seven sets of diffiml_cat.py.
_base_ = './protocol_mvss.py'
title = 'Protocol-CAT'
data = 'configs/_base_/datasets/cat.py'
