"""Comparison of models: jobs, fairness, report."""

from .fairness import differences, record
from .report import write_report
from .results import BenchmarkResults
from .spec import Benchmark, ModelEntry

__all__ = ['Benchmark', 'BenchmarkResults', 'ModelEntry', 'differences', 'record', 'write_report']
