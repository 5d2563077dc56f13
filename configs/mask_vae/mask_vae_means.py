# Stage 1, second phase: the decoder learns what a mean of latents stands for; the encoder, and so
# the latents, stay as they are. The weights 'shipped' came from this config.
_base_ = './mask_vae.py'
load_from = 'work_dirs/mask_vae/iter_900.pth'
model = dict(loss_recon='bce', mixed_masks=3, freeze_encoder=True)

