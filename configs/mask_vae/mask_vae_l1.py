# Stage 1 with the published decoder and latent factor; made 'shipped-published'.
_base_ = './mask_vae.py'
model = dict(margin=1.0, vae=dict(latent_scale=0.18215))
