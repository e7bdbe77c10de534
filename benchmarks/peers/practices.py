"""What each program trains with against the clock: practices that it documents, and the twin network."""

from qmcbench.bench.names import OURS
from qmcbench.structure import Scalar

Configuration = dict[str, Scalar]
TWIN: Configuration = {"network": "twin", "samples": 1024, "rate": 0.01, "shift": 0.01}
"""The paper's network without symmetry and its authors' settings, for Pauli matrices."""
CHUNKS: Configuration = {"chunk": 1024, "chunk_bwd": 128}
VIT: Configuration = {"network": "ViT", "layers": 4, "width": 60, "heads": 10, "patch": 2}
SMALL_VIT: Configuration = {"network": "ViT", "layers": 1, "width": 16, "heads": 4, "patch": 1}

CONFIGURATIONS: dict[str, list[tuple[str, Configuration]]] = {
    OURS: [
        ("its recipe", {"stretch": 1}),
        ("its recipe, three times as long", {"stretch": 3}),
        ("twin", {"twin": True, "samples": 1024, "rate": 0.04, "shift": 0.01}),
    ],
    "netket": [
        ("tutorial on the ViT", {**VIT, "samples": 4096, "rate": 0.0075, "shift": 1e-4, **CHUNKS, "packed": False}),
        (
            "small ViT, as tachys begins",
            {**SMALL_VIT, "samples": 1024, "rate": 0.0125, "shift": 1e-3, **CHUNKS, "packed": False},
        ),
        (
            "small ViT, as tachys begins, packed kernel",
            {**SMALL_VIT, "samples": 1024, "rate": 0.0125, "shift": 1e-3, **CHUNKS, "packed": True},
        ),
        (
            "tutorial on G-CNNs",
            {
                "network": "GCNN",
                "layers": 4,
                "features": 8,
                "samples": 100,
                "rate": 0.01,
                "shift": 0.01,
                "chunk": 100,
                "chunk_bwd": 100,
                "packed": False,
            },
        ),
        ("twin", {**TWIN, **CHUNKS, "packed": False}),
        ("twin, packed kernel", {**TWIN, **CHUNKS, "packed": True}),
    ],
    "quantax": [
        (
            "tutorial on J1-J2",
            {
                "network": "ResConv",
                "blocks": 2,
                "channels": 8,
                "samples": 1024,
                "rate": 0.01,
                "shift": None,
                "reweight": 2.0,
                "chunk": 25000,
                "chunk_bwd": 1024,
            },
        ),
        (
            "example on MinSR",
            {
                "network": "ResConv",
                "blocks": 8,
                "channels": 32,
                "samples": 10000,
                "rate": 0.001,
                "shift": None,
                "reweight": 1.0,
                "chunk": 16384,
                "chunk_bwd": 1024,
            },
        ),
        ("twin", {**TWIN, "reweight": 2.0, **CHUNKS}),
    ],
    "tachys": [
        (
            "quick start",
            {
                "layers": 1,
                "width": 16,
                "heads": 4,
                "patch": 1,
                "samples": 1024,
                "rate": 0.05,
                "shift": 1e-3,
                "reach": 1,
            },
        ),
        (
            "page on the ViT",
            {
                "layers": 4,
                "width": 60,
                "heads": 10,
                "patch": 2,
                "samples": 1024,
                "rate": 0.0075,
                "shift": 1e-4,
                "reach": 2,
            },
        ),
    ],
}
"""What each program is run with, by the name of the practice; those that begin with ``twin`` share one network."""
