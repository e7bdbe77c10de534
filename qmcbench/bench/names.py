"""Names that measurements, claims and reports share; torch is not needed to know them."""

OPERATIONS = {
    "conv2d": "Conv2D",
    "max_pool": "MaxPool",
    "deconv": "Conv1DBackpropInput",
    "bias": "AddV2",
    "pad": None,
    "product": None,
}
"""The operations of the plain network, and what the paper's Fig. 7 calls those that it names."""
FORWARD, FUSED = "forward", "fused"
PLAIN, FOURIER, SCALAR = "plain", "fourier", "scalar"
"""Forms of a forward pass beside :data:`FUSED`: PyTorch's operations, Fourier space, loops on one core."""
DERIVATIVES, SOLVE = "log_derivatives", "solve"
ITERATION, SWEEP, LOCAL_ENERGY, SR_STEP = "iteration", "sweep", "local_energy", "sr_step"
OURS = "qmcbench"
PEERS = ("netket", "quantax")
"""Those that an iteration is to be compared with."""
PHASES = {
    SWEEP: "sweep of L x L steps",
    LOCAL_ENERGY: "local energies",
    SR_STEP: "SR step",
    ITERATION: "whole iteration",
}
"""Timed phases of the comparison with peers."""
COMMANDS = {
    name: f"qmcbench bench {name} --out FOLDER"
    for name in ("limits", "hotpath", "hotspots", "speedup", "growth", "device", "optimisers", "suite")
} | {
    "peers": "qmcbench bench peers --peers-python PYTHON --out FOLDER",
    "accuracy": "qmcbench bench accuracy --peers-python PYTHON --tachys-python PYTHON --out FOLDER",
}
"""What makes each part."""
