# A model of the package imdlbenco (pip install imdlbenco), here its Mesorch, on the data, schedule
# and evaluators of diffiml_casia.py. Another one: its registered name and its own settings.
_base_ = '../diffiml_casia.py'
model = dict(
    _delete_=True,
    type='IMDLBenCoModel',
    name='Mesorch',
    data_preprocessor={{_base_.data_preprocessor}})
