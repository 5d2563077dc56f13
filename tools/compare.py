"""Compare models: ``python tools/compare.py BENCHMARK``, or ``diffiml compare BENCHMARK``."""

from diffiml_plugin.benchmark.compare import main
from diffiml_plugin.errors import program

if __name__ == '__main__':
    program(main)()
