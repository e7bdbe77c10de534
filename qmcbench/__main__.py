"""The entry point, ``qmcbench`` and ``python -m qmcbench``: an interruption while modules load is no traceback."""

import sys


def main() -> None:
    """Load the command line and hand over to it."""
    try:
        from qmcbench.ranks import early, launch

        if launch.launched() > 1:
            early.watch()
        from qmcbench.cli.main import main as command_line
    except KeyboardInterrupt:
        print("Interrupted before anything was done.", file=sys.stderr)
        sys.exit(130)
    command_line()


if __name__ == "__main__":
    main()
