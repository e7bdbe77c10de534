"""What each program trains with against the clock: practices that it documents, another's, and the twin network.

Every one is run on the lattice asked for, until the time is over; the lattice in brackets is the one that its source
takes, with the steps where they are few. A name that begins with ``tachys'`` is tachys' network with tachys' numbers,
whatever program runs it; one that begins with ``twin`` is the network that programs share.
"""

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
        ("its plan for 6x6", {"plan": "6x6"}),
        ("twin", {"twin": True, "samples": 1024, "rate": 0.04, "shift": 0.01}),
    ],
    "netket": [
        (
            "tutorial on the ViT (10x10)",
            {**VIT, "samples": 4096, "rate": 0.0075, "shift": 1e-4, **CHUNKS, "packed": False},
        ),
        (
            "tachys' quick start (4x4, 30 steps)",
            {**SMALL_VIT, "samples": 1024, "rate": 0.0125, "shift": 1e-3, **CHUNKS, "packed": False},
        ),
        (
            "tachys' quick start (4x4, 30 steps), packed kernel",
            {**SMALL_VIT, "samples": 1024, "rate": 0.0125, "shift": 1e-3, **CHUNKS, "packed": True},
        ),
        (
            "tutorial on G-CNNs (honeycomb), complex",
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
            "tutorial on J1-J2 (4x4)",
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
            "example on MinSR (10x10)",
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
            "quick start (4x4, 30 steps)",
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
            "page on the ViT (10x10), its SpinViT for its ViT",
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
"""What each program is run with, by the name of the practice; a run is kept by what it was run with, not by name."""
