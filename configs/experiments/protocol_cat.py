# Protocol-CAT: as protocol_mvss.py, every model trained on the seven sets of diffiml_cat.py.
_base_ = './protocol_mvss.py'
title = 'Protocol-CAT'
data = 'configs/_base_/datasets/cat.py'
# IMD2020 is trained on.
test_sets = dict(
    _delete_=True,
    **{
        name: f'data/{name}'
        for name in ('CASIAv1', 'Columbia', 'COVERAGE', 'NIST16', 'DEFACTO-12k', 'DSO-1', 'Korus',
                     'AutoSplice', 'CocoGlide', 'OpenSDID')
    })
