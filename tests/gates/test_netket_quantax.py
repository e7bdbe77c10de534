"""The paper's network as a state of NetKet and of quantax themselves, where they are installed: psi is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMON = f"""
import os, sys, warnings
os.environ["NETKET_ENABLE_X64"] = "1"
warnings.simplefilter("ignore")
sys.path.insert(0, {str(ROOT / "benchmarks" / "peers")!r})
import jax
import jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
import network
import torch
from qmcbench.config import Wavefunction
from qmcbench.gates.targets import foreign
from qmcbench.gates.targets.target import Size
from qmcbench.lattice import random_configurations
from qmcbench.vmc import build_ansatz

expected = build_ansatz(Wavefunction(network="small", symmetry="none", dtype="float64"), seed=3)
start = {{".".join(n.split(".")[-3:]): jnp.asarray(p.detach().numpy()) for n, p in expected.named_parameters()}}
"""
NETKET = """
import flax.linen as nn
import netket as nk

class Paper(nn.Module):
    @nn.compact
    def __call__(self, spins):
        zeros = nn.initializers.zeros
        those = {name: self.param(name, zeros, each.shape, each.dtype) for name, each in start.items()}
        log_psi, sign = network.log_psi(those, spins.reshape(-1, 16), 4, "conv")
        return jax.lax.complex(log_psi, jnp.pi * (sign < 0).astype(log_psi.dtype)).reshape(spins.shape[:-1])

sampler = nk.sampler.MetropolisExchange(nk.hilbert.Spin(0.5, 16, total_sz=0), graph=nk.graph.Square(4), n_chains=16)
state = nk.vqs.MCState(sampler, Paper(), variables={"params": start}, n_samples=64, seed=1)
"""
QUANTAX = """
import equinox as eqx
import quantax as qtx
from quantax.utils import LogArray

class Paper(eqx.Module):
    parameters: dict

    def __call__(self, spins):
        log_psi, sign = network.log_psi(self.parameters, spins[None], 4, "conv")
        return LogArray(sign[0], log_psi[0])

qtx.sites.Square(4, Nparticles=(8, 8))
state = qtx.state.Variational(Paper(start), max_parallel=4096)
"""
COMPARE = """
spins = random_configurations(4, 100, 1)
psi = foreign.target(state, "state", Size()).psi
with torch.no_grad():
    for one, other in zip(psi(spins), expected(spins)):
        assert (one - other).abs().max() < 1e-6, (one, other)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("package", "state"), [("netket", NETKET), ("quantax", QUANTAX)], ids=["netket", "quantax"])
def test_the_papers_network_in(package: str, state: str) -> None:
    """Amplitude by amplitude that of torch: sites, spins and signs are in the same order and of the same sense."""
    pytest.importorskip(package)
    result = subprocess.run(
        [sys.executable, "-c", COMMON + state + COMPARE], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
