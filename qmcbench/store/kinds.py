"""Every kind of record: importing this module makes all of them known to :data:`qmcbench.store.records.KINDS`."""

from qmcbench.gates.check import Check
from qmcbench.store import bench, energies, gates, scaling
from qmcbench.store.records import KINDS

__all__ = ["KINDS", "Check", "bench", "energies", "gates", "scaling"]
