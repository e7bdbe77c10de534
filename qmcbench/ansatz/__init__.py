"""Wave functions: the protocol, the paper's network, its sign prior and its symmetry."""

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import check_trainable, log_derivatives, trainable
from qmcbench.ansatz.sign import MarshallSign, marshall_sign
from qmcbench.ansatz.symmetry import Projected

__all__ = [
    "CNN",
    "Ansatz",
    "MarshallSign",
    "Projected",
    "amplitudes",
    "check_trainable",
    "log_derivatives",
    "marshall_sign",
    "trainable",
]
