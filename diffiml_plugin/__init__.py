"""DiffIML for MMSegmentation; importing the package registers all of its components."""

from . import datasets, engine, evaluation, models  # noqa: F401

__version__ = '0.1.0'
