"""Prediction of data sets on many machines, by Ray Data (extra ``ray``)."""

from .predict import DatasetSummary, predict_dataset
from .store import ResultStore

__all__ = ['DatasetSummary', 'ResultStore', 'predict_dataset']
