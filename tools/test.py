"""Test a segmentor: ``python tools/test.py CONFIG CHECKPOINT``, or ``diffiml test``."""

from diffiml_plugin.engine.test import main
from diffiml_plugin.errors import program

if __name__ == '__main__':
    program(main)()
