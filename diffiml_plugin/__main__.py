"""``python -m diffiml_plugin`` runs ``diffiml``."""

import sys

from .cli import main

if __name__ == '__main__':
    sys.exit(main())
