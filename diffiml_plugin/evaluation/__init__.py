"""Evaluators."""

from .iml_metric import IMLMetric

__all__ = ['IMLMetric']
