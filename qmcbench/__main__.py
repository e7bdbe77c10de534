"""``python -m qmcbench``: the command line."""

from qmcbench.cli.main import main

if __name__ == "__main__":
    main()
