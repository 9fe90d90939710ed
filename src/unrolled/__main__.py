"""``python -m unrolled`` and ``unrolled``: the command line, also under ``torchrun -m unrolled``."""

import sys


def run() -> int:
    """The command line; Ctrl-C is a word and an exit code even while modules are still loading."""
    try:
        from unrolled.cli import main

        return main()
    except KeyboardInterrupt:
        print("unrolled: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
