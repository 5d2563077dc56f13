"""Layers that forensic models share."""

from .forensic import BayarConv2d, DCTPass, GeMPool, SobelGate, SRMConv2d

__all__ = ['BayarConv2d', 'DCTPass', 'GeMPool', 'SRMConv2d', 'SobelGate']
