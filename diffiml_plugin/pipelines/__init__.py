"""DiffIML for users of diffusers. It is imported on demand, since diffusers has many pipelines."""

from .diffiml_pipeline import DiffIMLModel, DiffIMLPipeline, DiffIMLPipelineOutput

__all__ = ['DiffIMLModel', 'DiffIMLPipeline', 'DiffIMLPipelineOutput']
