"""Write the demo's training set and its test sets: ``diffiml demo-data`` from the repository."""

import sys

from diffiml_plugin.cli import main

if __name__ == '__main__':
    sys.exit(main(['demo-data', *sys.argv[1:]]))
