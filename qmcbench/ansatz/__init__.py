"""Wave functions: the protocol, the paper's network, its sign prior and its symmetry."""

from qmcbench.ansatz.base import Ansatz
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.sign import MarshallSign, marshall_sign
from qmcbench.ansatz.symmetry import C4

__all__ = ["C4", "CNN", "Ansatz", "MarshallSign", "log_derivatives", "marshall_sign"]
