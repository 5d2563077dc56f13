# Stage 1 with the published loss and latent factor; made 'shipped-published'.
_base_ = './mask_vae.py'
model = dict(loss_recon='l1', latent_noise=0.0, vae=dict(latent_scale=0.18215))
