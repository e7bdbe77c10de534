"""Reports: pure functions of records. Nothing here measures, and nothing here imports torch."""

import os
import sys
from contextlib import suppress

# matplotlib reads MPLBACKEND at its first import and refuses a backend that is not installed, such as that of the
# Jupyter kernel of another environment. Figures here are drawn without one, so it is read only where it can be used.
if "MPLBACKEND" in os.environ and "matplotlib" not in sys.modules:
    _backend = os.environ.pop("MPLBACKEND")
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = _backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = _backend
