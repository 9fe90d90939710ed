"""``python -m unrolled`` and ``unrolled``: the command line, also under ``torchrun -m unrolled``."""

import os
import sys


def run() -> int:
    """The command line; Ctrl-C is a word and an exit code even while modules are still loading."""
    try:
        from unrolled.cli import main

        code = main()
    except KeyboardInterrupt:
        print("unrolled: interrupted", file=sys.stderr)
        code = 130
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # One of several processes under torchrun: torch's teardown of their group may abort.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(run())
