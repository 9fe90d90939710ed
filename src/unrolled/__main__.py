"""``python -m unrolled``: the command line, also under ``torchrun -m unrolled``."""

import sys

from unrolled.cli import main

if __name__ == "__main__":
    sys.exit(main())
