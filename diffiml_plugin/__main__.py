"""``python -m diffiml_plugin`` is ``diffiml``."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
