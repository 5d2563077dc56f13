# The demo's config, solved by three members from full noise, which most of docs/ablation.md was
# measured with.
_base_ = '../diffiml/diffiml_demo.py'
model = dict(decode_head=dict(sampler=dict(ensemble_size=3, noise_scale=1.0)))
