"""DiffIML for users of diffusers. It is imported on demand, since diffusers has many pipelines."""

from .diffiml_pipeline import DiffIMLPipeline
from .encoder import DiffIMLEncoder
from .image_processor import DiffIMLImageProcessor
from .output import DiffIMLPipelineOutput
from .unet import DiffIMLUNet
from .vae import DiffIMLVAE

__all__ = [
    'DiffIMLEncoder',
    'DiffIMLImageProcessor',
    'DiffIMLPipeline',
    'DiffIMLPipelineOutput',
    'DiffIMLUNet',
    'DiffIMLVAE',
]
