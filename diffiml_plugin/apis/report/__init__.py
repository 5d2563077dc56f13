"""The report of many predictions: one HTML file that people look at."""

from .page import FILE_NAME, ReportPage, is_foreign_page, stored_prediction

__all__ = ['FILE_NAME', 'ReportPage', 'is_foreign_page', 'stored_prediction']
