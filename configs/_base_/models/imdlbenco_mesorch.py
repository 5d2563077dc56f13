# A model of the package imdlbenco (docs/comparison.md says how to install it), here its Mesorch.
# Another one: its registered name and its own settings, which is all that it may be given.
_base_ = './imagenet_input.py'
model = dict(
    _delete_=True,
    type='IMDLBenCoModel',
    name='Mesorch',
    data_preprocessor={{_base_.data_preprocessor}})
