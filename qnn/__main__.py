"""python -m qnn: the `qnn` command."""
import sys

from qnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
