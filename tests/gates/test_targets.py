"""Targets by name and by object: whatever a person may bring is taken as it is meant, or refused in one sentence."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.errors import UserError
from qmcbench.gates.causes import factor
from qmcbench.gates.check import Verdict
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets import builtin, foreign, netket
from qmcbench.gates.targets.load import load
from qmcbench.gates.targets.target import Size, Target
from qmcbench.gates.targets.wrap import wave_function
from qmcbench.lattice import nearest_bonds, next_nearest_bonds, random_configurations

SPINS = random_configurations(4, 32, seed=3)
WEIGHTS = np.random.default_rng(0).normal(size=(16,)) / 4


def field(spins: NDArray[np.int8]) -> NDArray[np.float64]:
    """sum_r w_r s_r."""
    made: NDArray[np.float64] = spins.reshape(len(spins), -1) @ WEIGHTS
    return made


def numpy_pair(spins: NDArray[np.int8]) -> tuple[Any, Any]:
    return np.cos(field(spins)), np.exp(1j * field(spins))


def numpy_complex(spins: NDArray[np.int8]) -> Any:
    return np.cos(field(spins)) + 1j * field(spins)


def torch_pair(spins: Tensor) -> tuple[Tensor, Tensor]:
    angle = spins.double().flatten(1) @ torch.from_numpy(WEIGHTS)
    return angle.cos(), torch.polar(torch.ones_like(angle), angle)


def torch_complex(spins: Tensor) -> Tensor:
    angle = spins.double().flatten(1) @ torch.from_numpy(WEIGHTS)
    return torch.complex(angle.cos(), angle)


def psi_in_place(spins: NDArray[np.int8]) -> Any:
    """It changes what it is given, as a careless program may."""
    made = numpy_complex(spins)
    spins *= -1
    return made


class Layer(nn.Module):
    """A module that gives one complex log psi and takes spins in its own dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 1, bias=False, dtype=dtype)
        with torch.no_grad():
            self.layer.weight.copy_(torch.from_numpy(WEIGHTS)[None])

    def forward(self, spins: Tensor) -> Tensor:
        angle = self.layer(spins.flatten(1)).squeeze(1).double()
        return torch.complex(angle.cos(), angle)


@pytest.mark.parametrize(
    "function", [numpy_pair, numpy_complex, torch_pair, torch_complex, psi_in_place, Layer(torch.float64)]
)
def test_forms_of_one_wave_function_are_the_same(function: Callable[..., Any]) -> None:
    """NumPy or torch, two values or one: the same amplitudes, in double precision, and the spins are left alone."""
    spins = SPINS.clone()
    log_psi, phase = amplitudes(wave_function(function, "psi", 4), spins)
    expected = numpy_complex(SPINS.numpy())
    assert torch.equal(spins, SPINS)
    np.testing.assert_allclose(log_psi.detach(), expected.real, atol=1e-14)
    np.testing.assert_allclose(phase.detach(), np.exp(1j * expected.imag), atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_modules_of_any_precision(dtype: torch.dtype) -> None:
    """A module is given spins in its own dtype if it does not take int8, and keeps its parameters."""
    psi = wave_function(Layer(dtype), "psi", 4)
    assert isinstance(psi, nn.Module)
    assert sum(each.numel() for each in psi.parameters()) == 16
    log_psi, _ = amplitudes(psi, SPINS)
    np.testing.assert_allclose(log_psi.detach(), numpy_complex(SPINS.numpy()).real, atol=0.05)


def test_a_zero_of_psi_is_one() -> None:
    """log psi = -inf is psi = 0, with phase 0, in either form."""

    def nothing(spins: NDArray[np.int8]) -> Any:
        return np.full(len(spins), -np.inf + 0j)

    log_psi, phase = wave_function(nothing, "psi", 4)(SPINS)
    assert torch.isneginf(log_psi).all()
    assert (phase == 0).all()


@pytest.mark.parametrize(
    ("function", "words"),
    [
        pytest.param(lambda s: (field(s), field(s)), ("psi gives", "modulus is not 1", "exp(1j * a)"), id="angle"),
        pytest.param(lambda s: field(s), ("one real value", "log|psi| and the phase"), id="no phase"),
        pytest.param(lambda s: (field(s),) * 3, ("3 values",), id="three values"),
        pytest.param(lambda s: (field(s)[:2], field(s)[:2]), ("(2,)", "4 configurations"), id="wrong length"),
        pytest.param(lambda s: (float(s.sum() * 0 + 1), 1.0), ("one configuration at a time",), id="one at a time"),
        pytest.param(lambda s: (field(s) + 1j, np.ones(len(s))), ("complex log psi",), id="complex modulus"),
        pytest.param(lambda s: s.nonsense, ("cannot be called", "AttributeError", "(4, 4, 4)"), id="raises"),
        pytest.param(lambda: 0, ("cannot be called", "TypeError"), id="no argument"),
        pytest.param(lambda s: "text", ("no array of numbers",), id="text"),
        pytest.param(Layer, ("is a class", "psi = Layer(...)"), id="class"),
        pytest.param(nn.Linear(3, 1), ("cannot be called",), id="module"),
    ],
)
def test_what_is_no_wave_function_is_refused(function: Callable[..., Any], words: tuple[str, ...]) -> None:
    """One sentence with what it gives and what it has to give."""
    with pytest.raises(UserError) as caught:
        wave_function(function, "psi", 4)
    assert str(caught.value).startswith("psi")
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each])
    name = f"model_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "import numpy as np\n"
        "def psi(spins):\n    return np.zeros(len(spins)), np.ones(len(spins))\n"
        "class Inner:\n    psi = staticmethod(psi)\n"
        "number = 3\n"
    )
    (tmp_path / "broken_model.py").write_text("x = 1\ny = 1 / 0\n")
    return name


def test_a_function_of_a_module_in_the_current_folder(module: str) -> None:
    """It is found, named as on the command line, and lent what it does not bring, which is not tested for itself."""
    target = load(f"{module}:psi", L=6, J2=0.3)
    assert (target.name, target.L, target.J2) == (f"{module}:psi", 6, 0.3)
    assert target.psi is not None
    assert target.evaluate is builtin.evaluate
    assert target.log_derivatives is None
    assert target.lacks(("psi", "evaluate")) is None
    assert target.lacks(("evaluate",)) == "the target brings no evaluate of its own"
    assert load(f"{module}:Inner.psi").psi is not None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("{}:nothing", ("has no 'nothing'", "it has", "psi")),
        ("{}:number", ("is a int", "local_energies")),
        ("{}.py:psi", ("names a file", "{}:psi")),
        ("{}", ("is no target", ".npz")),
        ("no_such_model:psi", ("There is no module 'no_such_model'",)),
        ("broken_model:psi", ("Importing broken_model failed", "ZeroDivisionError", "line 2")),
        ("{}:", ("not of the form",)),
        ("nothing.npz", ("nothing.npz", "No such file")),
        ("nothing.nk", ("nothing.nk", "no such file")),
    ],
    ids=["attribute", "number", "file", "bare", "module", "raises", "empty", "npz", "nk"],
)
def test_names_that_are_no_target(module: str, name: str, words: tuple[str, ...]) -> None:
    """Each mistake has its sentence."""
    with pytest.raises(UserError) as caught:
        load(name.format(module))
    for word in words:
        assert word.format(module) in str(caught.value)


class Parts:
    """A code's own parts."""

    psi = staticmethod(numpy_pair)

    def local_energies(self, psi: Ansatz, L: int, J2: float, spins: Tensor) -> Tensor:
        """Energies in Pauli matrices."""
        return 4 * builtin.local_energies(psi, L, J2, spins)


def test_a_codes_own_parts_are_what_is_tested() -> None:
    """Its methods are the target's parts; its energies fail at the Hamiltonian, which says why."""
    target = foreign.target(Parts(), "code", Size())
    assert target.psi is not None
    assert "local_energies" not in target.lent
    found = [check for each in outcomes(target, Plan(only=["hamiltonian/*"], quick=True)) for check in each.checks]
    assert {check.verdict for check in found} == {Verdict.FAIL}
    assert {check.cause for check in found} == {"4 times the exact energy: Pauli matrices?"}


def test_a_module_is_lent_derivatives() -> None:
    """Its log-derivatives are the engine's; parts that it brings are never replaced."""
    real = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, dtype=torch.float64), nn.Flatten(0))

    class Positive(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = real

        def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
            log_psi = self.inner(spins.double())
            return log_psi, torch.ones_like(log_psi)

    target = foreign.target(Positive(), "psi", Size())
    assert target.psi is not None
    assert target.log_derivatives is not None
    assert target.log_derivatives(target.psi, SPINS).shape == (32, 17)
    own = Target(name="own", psi=target.psi, local_energies=Parts().local_energies)
    assert foreign.target(own, "own", Size()).local_energies is own.local_energies


class Operator:
    """The J1-J2 model with the interface of NetKet's operators, in Pauli matrices."""

    def __init__(self, L: int, J2: float, without: int | None = None) -> None:
        pairs = torch.cat([nearest_bonds(L), next_nearest_bonds(L)]).numpy()
        couplings = np.repeat([1.0, J2], 2 * L * L)
        keep = np.arange(len(pairs)) != (-1 if without is None else without)
        self.pairs, self.couplings = pairs[keep], couplings[keep]

    def get_conn_padded(self, rows: NDArray[np.int8]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
        """Connected configurations (batch, 1 + bonds, sites) and elements; padded with the row itself and 0."""
        first, second = self.pairs.T
        antiparallel = rows[:, first] != rows[:, second]
        connected = np.repeat(rows[:, None], 1 + len(self.pairs), axis=1)
        bond = np.arange(len(self.pairs))
        connected[:, 1 + bond, first] = rows[:, second]
        connected[:, 1 + bond, second] = rows[:, first]
        diagonal = (self.couplings * np.where(antiparallel, -1.0, 1.0)).sum(1)
        return connected, np.concatenate([diagonal[:, None], 2 * self.couplings * antiparallel], axis=1)


def state(L: int = 4, sites: NDArray[np.int64] | None = None, states: tuple[int, ...] = (1, -1)) -> Any:
    """A stand-in for NetKet's MCState whose site n is our ``sites``' n, and the batch sizes that it has seen."""
    order = np.arange(L * L) if sites is None else sites.reshape(-1).argsort()
    seen: set[int] = set()

    def log_value(rows: NDArray[np.int8]) -> NDArray[np.complex64]:
        seen.add(len(rows))
        back = rows[:, order.argsort()]
        return (np.cos(field(back)) + 1j * field(back)).astype(np.complex64)

    hilbert = SimpleNamespace(size=L * L, local_states=list(states))
    return SimpleNamespace(log_value=log_value, hilbert=hilbert, parameters={}, seen=seen)


@pytest.mark.parametrize("shuffled", [False, True], ids=["row by row", "shuffled"])
def test_a_netket_state_in_any_order_of_sites(shuffled: bool) -> None:
    """psi is that of the state, site by site, and JAX would compile few shapes."""
    sites = np.random.default_rng(1).permutation(16).reshape(4, 4) if shuffled else None
    stand_in = state(sites=sites)
    target = netket.target(stand_in, sites=sites)
    assert target.psi is not None
    for count in (1, 5, 17, 32):
        log_psi, phase = target.psi(SPINS[:count])
        expected = numpy_complex(SPINS[:count].numpy())
        np.testing.assert_allclose(log_psi, expected.real, atol=1e-6)
        np.testing.assert_allclose(phase, np.exp(1j * expected.imag), atol=1e-6)
    assert stand_in.seen == {16, 32}


@pytest.mark.parametrize(
    ("hamiltonian", "units", "verdict", "cause"),
    [
        (Operator, "Pauli", Verdict.PASS, ""),
        (Operator, "spin", Verdict.FAIL, "4 times the exact energy: Pauli matrices?"),
        (lambda L, J2: Operator(L, J2, without=7), "Pauli", Verdict.FAIL, "a bond missing"),
    ],
    ids=["right", "Pauli energies", "a bond left out"],
)
def test_netket_hamiltonians(hamiltonian: Any, units: str, verdict: Verdict, cause: str) -> None:
    """Matrix elements of an operator are held against QuSpin and magnons; the factor 4 and a bond are seen."""
    target = netket.target(state(), hamiltonian, units=units)
    found = [check for each in outcomes(target, Plan(only=["hamiltonian/*"], quick=True)) for check in each.checks]
    assert len(found) == 6
    assert {check.verdict for check in found} == {verdict}
    assert all(cause in (check.cause or "") for check in found)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: netket.target(state(states=(0, 1))), "states [0.0, 1.0]"),
        (lambda: netket.target(state(), units="cgs"), "units = 'cgs'"),
        (lambda: netket.target(state(), sites=np.zeros((4, 4), int)), "sites"),
        (lambda: netket.target(state(L=4), size=Size(L=6)), "says L = 4"),
    ],
    ids=["occupations", "units", "sites", "L"],
)
def test_netket_states_that_are_refused(made: Callable[[], Target], words: str) -> None:
    """What is no state of spins on that square."""
    with pytest.raises(UserError) as caught:
        made()
    assert words in str(caught.value)


class LogArray(SimpleNamespace):
    """quantax's psi: a sign and a logarithm."""


class Quantax:
    """A stand-in for quantax's Variational state."""

    Nsites = Nmodes = 16

    def __call__(self, rows: NDArray[np.int8]) -> Any:
        value = field(rows)
        return LogArray(sign=np.exp(1j * value), logabs=np.cos(value))

    def get_params_flatten(self) -> None:
        """A sign by which it is known."""


def test_a_quantax_state() -> None:
    """Both states are known by what they have; neither package is imported."""
    target = foreign.target(Quantax(), "state", Size())
    assert target.psi is not None
    log_psi, phase = target.psi(SPINS)
    np.testing.assert_allclose(log_psi, np.cos(field(SPINS.numpy())), atol=1e-12)
    np.testing.assert_allclose(phase, np.exp(1j * field(SPINS.numpy())), atol=1e-12)
    assert foreign.target(state(), "state", Size()).psi is not None
    assert not {"netket", "quantax", "jax"} & set(sys.modules)


def test_telling_factors() -> None:
    """4 times, totals, both; nothing else is given a meaning."""
    energies = np.array([-8.0, -7.0, -9.5])
    assert factor(4 * energies, energies, 16) == "4 times the exact energy: Pauli matrices?"
    assert "a total" in str(factor(36 * energies, energies, 36))
    assert factor(energies, energies, 16) is None
    assert factor(3 * energies, energies, 16) is None
    assert factor(4 * energies[::-1], energies, 16) is None
    assert factor([math.nan], [1.0], 16) is None


NETKET = """
import warnings; warnings.simplefilter("ignore")
import netket as nk
from qmcbench.gates.targets import netket
hilbert = nk.hilbert.Spin(0.5, 16, total_sz=0)
sampler = nk.sampler.MetropolisExchange(hilbert, graph=nk.graph.Square(4), n_chains=16)
state = nk.vqs.MCState(sampler, nk.models.RBM(alpha=1, param_dtype=complex), n_samples=64, seed=1)
def heisenberg(L, J2):
    graph = nk.graph.Square(L, max_neighbor_order=2)
    space = nk.hilbert.Spin(0.5, L * L, total_sz=0)
    return nk.operator.Heisenberg(space, graph, J=[1.0, J2], sign_rule=[False, False])
def lacking(L, J2):
    # One bond of the exchange taken away again: sx sx + sy sy + sz sz of the sites 0 and 1.
    whole = heisenberg(L, J2)
    bond = nk.operator.Heisenberg(whole.hilbert, nk.graph.Graph([(0, 1)], n_nodes=L * L), J=1.0, sign_rule=False)
    return whole - bond
right, bond = netket.target(state, heisenberg), netket.target(state, lacking)
pauli = netket.target(state, heisenberg, units="spin")
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("right", 0, ""), ("bond", 1, "a bond missing"), ("pauli", 1, "4 times the exact energy: Pauli matrices?")],
    ids=["right", "a bond left out", "Pauli energies"],
)
def test_netket_itself(name: str, status: int, words: str, tmp_path: Path) -> None:
    """The same with NetKet, where it is installed: matrix elements of its Heisenberg model at three sizes."""
    pytest.importorskip("netket")
    (tmp_path / "model.py").write_text(NETKET)
    command = [sys.executable, "-m", "qmcbench", "gate", f"model:{name}", "-q", "--quick", "--level", "hamiltonian"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == status, result.stdout + result.stderr
    assert words in result.stderr


@pytest.mark.slow
def test_a_saved_netket_state(tmp_path: Path) -> None:
    """A ``.nk`` file, written by nqxpack, is a wave function."""
    pytest.importorskip("netket")
    pytest.importorskip("nqxpack")
    code = f"{NETKET}\nimport nqxpack\nnqxpack.save(state, 'state.nk')\n"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    target = load(str(tmp_path / "state.nk"))
    assert target.psi is not None
    assert target.psi(SPINS)[0].isfinite().all()
