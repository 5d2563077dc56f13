"""Train a segmentor: ``python tools/train.py configs/diffiml_casia.py``, or ``diffiml train``."""

from diffiml_plugin.engine.train import main
from diffiml_plugin.errors import program

if __name__ == '__main__':
    program(main)()
