"""DiffIML for users of diffusers. Not imported with the package: diffusers' pipelines are many."""

from .diffiml_pipeline import DiffIMLModel, DiffIMLPipeline, DiffIMLPipelineOutput

__all__ = ['DiffIMLModel', 'DiffIMLPipeline', 'DiffIMLPipelineOutput']
