"""Full sums over orbits: against dense algebra on all 12 870 configurations of 4x4, and what is refused."""

import itertools
import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from dense import Array
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from qmcbench import exact, statistics
from qmcbench.ansatz.base import Ansatz, log_sum
from qmcbench.ansatz.sign import marshall_sign
from qmcbench.cli.exact import print_exact
from qmcbench.config import Config, Model
from qmcbench.errors import UserError
from qmcbench.exact import ExactEvaluation, GroundState, exact_energy, sector_of
from qmcbench.files import Interrupted
from qmcbench.hamiltonian import J1J2
from qmcbench.local_energy import local_energies
from qmcbench.reference import ground_state
from qmcbench.reference.irrep import IRREPS, Irrep
from qmcbench.reference.orbits import build

Matrix = Callable[[float], csr_matrix]


def correlations(spins: Tensor) -> Tensor:
    """Products of spins by displacement, averaged over the lattice and the point group; shape (batch, L, L)."""
    power = torch.fft.fft2(spins.double()).abs() ** 2
    table = torch.fft.ifft2(power).real / spins[0].numel()
    table = table + table[:, -torch.arange(spins.shape[-1])]
    return table + table.mT


def jastrow(spins: Tensor) -> tuple[Tensor, Tensor]:
    """exp of pair correlations times the Marshall sign: symmetric by construction."""
    table = correlations(spins)
    log_psi = -1.1 * table[:, 0, 1] + 0.6 * table[:, 1, 1] + 0.3 * table[:, 0, 2] - 0.2 * table[:, 1, 2]
    return spins[0].numel() / 16 * log_psi, marshall_sign(spins)


def complex_jastrow(spins: Tensor) -> tuple[Tensor, Tensor]:
    """The same with a phase that depends on correlations."""
    log_psi, sign = jastrow(spins)
    return log_psi, sign * torch.exp(1j * 5 * correlations(spins)[:, 1, 2])


class Summed:
    """Sum of an ansatz over the whole group with the characters of a sector: explicit, all 256 images on 4x4."""

    def __init__(self, base: Ansatz, irrep: Irrep) -> None:
        self.base, self.irrep = base, irrep

    def __call__(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        L = spins.shape[-1]
        back = -torch.arange(L) % L
        log_psi, phase = [], []
        for down, right in itertools.product(range(L), repeat=2):
            for inverted, turned, rows, columns in itertools.product((0, 1), repeat=4):
                image = -spins if inverted else spins
                image = image.mT if turned else image
                image = image[:, back] if rows else image
                image = image[:, :, back] if columns else image
                one, sign = self.base(image.roll((down, right), (-2, -1)).contiguous())
                characters = (
                    self.irrep.translation ** (down + right)
                    * self.irrep.inversion**inverted
                    * self.irrep.transposition**turned
                    * self.irrep.reflection ** (rows + columns)
                )
                log_psi.append(one)
                phase.append(characters * sign)
        return log_sum(torch.stack(log_psi), torch.stack(phase), 0)


def vector_of(psi: Ansatz, configurations: Tensor) -> NDArray[np.complex128]:
    """All amplitudes, normalised."""
    with torch.no_grad():
        log_psi, phase = psi(configurations)
    vector = (phase * (log_psi - log_psi.max()).exp()).numpy()
    return vector / np.linalg.norm(vector)


def dense(vector: NDArray[np.complex128], H: csr_matrix, ground: NDArray[np.float64]) -> dict[str, float]:
    """What `exact_energy` returns, from powers of the matrix and a 2x2 generalised eigenvalue problem."""
    images = [vector, H @ vector]
    images.append(H @ images[1])
    moment = [np.vdot(images[i], images[j]).real for i, j in ((0, 0), (0, 1), (1, 1), (1, 2), (2, 2))]
    energy, variance = moment[1], moment[2] - moment[1] ** 2
    # Lowest state of span(v, Hv), by orthogonalising Hv.
    other = (images[1] - energy * vector) / np.sqrt(variance)
    small = np.array([[np.vdot(a, H @ b).real for b in (vector, other)] for a in (vector, other)])
    values, vectors = np.linalg.eigh(small)
    best = vectors[0, 0] * vector + vectors[1, 0] * other
    after = np.vdot(H @ best, H @ best).real - values[0] ** 2
    slope = (energy - values[0]) / (variance - after)
    # The same one-step energy from the moments alone.
    matrix, metric = np.array([moment[1:3], moment[2:4]]), np.array([moment[0:2], moment[1:3]])
    from_moments = np.linalg.eigvals(np.linalg.solve(metric, matrix)).real.min()
    assert from_moments == pytest.approx(values[0], abs=1e-8)
    return {
        "energy": energy / 16,
        "variance": variance / 256,
        "v_score": statistics.v_score(energy, variance, 16),
        "one_step_energy": values[0] / 16,
        "one_step_variance": after / 256,
        "extrapolated_energy": (values[0] - slope * after) / 16 if slope > 0 else None,
        "infidelity": 1 - abs(np.vdot(ground, vector)) ** 2,
    }


def assert_equal(found: ExactEvaluation, expected: dict[str, float]) -> None:
    for name, value in expected.items():
        assert getattr(found, name) == (value and pytest.approx(value, rel=1e-9, abs=1e-10)), name


@pytest.mark.parametrize("psi", [jastrow, complex_jastrow], ids=["real", "complex"])
@pytest.mark.parametrize("J2", [0.0, 0.5, 1.0])
def test_full_sum_equals_dense_algebra(psi: Ansatz, J2: float, configurations: Tensor, matrix: Matrix) -> None:
    """Energy, variance, V-score, one Lanczos step, extrapolation and infidelity to 1e-10, from 107 of 12 870."""
    total, ground = ground_state(4, J2)
    found = exact_energy(psi, 4, J2)
    expected = dense(vector_of(psi, configurations), matrix(J2), ground)
    assert_equal(found, expected)
    assert found.exact_energy == pytest.approx(total / 16, abs=1e-11)
    assert found.relative_error == pytest.approx((expected["energy"] * 16 - total) / abs(total), rel=1e-9)
    assert (found.sector, found.ground_sector, found.configurations) == ("k=(0,0) A1 z=+1", "k=(0,0) A1 z=+1", 107)
    assert found.energy > found.one_step_energy > found.exact_energy


@pytest.mark.parametrize("irrep", [IRREPS[0], IRREPS[2], IRREPS[4]], ids=lambda irrep: irrep.code)
def test_projected_network(
    irrep: Irrep,
    network: tuple[torch.nn.Module, Array],
    configurations: Tensor,
    tabulated: Callable[..., Ansatz],
    matrix: Matrix,
) -> None:
    """A CNN summed over all 256 symmetries with the characters of a sector is found to be in it, and summed up."""
    amplitudes = torch.from_numpy(network[1])
    psi = Summed(tabulated(amplitudes.abs().log(), torch.sgn(amplitudes)), irrep)
    ground = ground_state(4, 0.5)[1]
    found = exact_energy(psi, 4, 0.5)
    assert found.sector == irrep.name
    assert_equal(found, dense(vector_of(psi, configurations), matrix(0.5), ground))
    assert found.asymmetry < 1e-10
    assert (found.infidelity == 1) == (irrep != IRREPS[0])


def test_exact_state_has_no_variance(
    configurations: Tensor, tabulated: Callable[..., Ansatz], matrix: Matrix
) -> None:
    """The 4x4 ground state as a lookup: its energy, no variance, no infidelity, and no Lanczos step to make."""
    total, vector = ground_state(4, 0.5)
    vector = torch.from_numpy(vector)
    found = exact_energy(tabulated(vector.abs().log(), torch.sgn(vector)), 4, 0.5)
    assert found.energy == pytest.approx(total / 16, abs=1e-12)
    assert found.variance < 1e-20
    assert found.infidelity < 1e-16
    assert found.one_step_energy == pytest.approx(total / 16, abs=1e-12)
    assert found.one_step_energy <= found.energy


def test_small_infidelity_is_not_rounding(tabulated: Callable[..., Ansatz], configurations: Tensor) -> None:
    """1e-12 of the squared norm in another symmetric state is found as such."""
    ground = ground_state(4, 0.5)[1]
    rest = vector_of(jastrow, configurations)
    rest -= ground * (ground @ rest)
    mixed = torch.from_numpy(ground + 1e-6 * rest / np.linalg.norm(rest))
    found = exact_energy(tabulated(mixed.abs().log(), torch.sgn(mixed)), 4, 0.5)
    assert found.infidelity == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize(
    ("term", "name"),
    [
        (lambda s: s[:, 0].sum(-1), "translation by one row"),
        (lambda s: s[:, :, 0].sum(-1) + 0.0 * s[:, 0, 0], "translation by one column"),
        (
            lambda s: sum((s * s.roll(1, axis) * s.roll(-1, axis)).sum((-2, -1)) for axis in (-1, -2)),
            "inversion of all spins",
        ),
        (lambda s: (s * s.roll((1, 1), (-2, -1))).sum((-2, -1)), "reflection of the rows"),
        (lambda s: (s * s.roll(1, -1)).sum((-2, -1)), "reflection on the diagonal"),
    ],
    ids=["rows", "columns", "inversion", "reflection", "diagonal"],
)
@pytest.mark.parametrize("L", [4, 6])
def test_missing_symmetry_is_named(term: Callable[[Tensor], Tensor], name: str, L: int) -> None:
    """One sentence with the symmetry and what to do, before anything is built."""

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, phase = jastrow(spins)
        return log_psi + 0.1 * term(spins.double()), phase

    with pytest.raises(
        UserError, match=rf"not symmetric under the {name} \(log\|psi\| changes by up to .*sum it over"
    ) as no:
        exact_energy(psi, L, 0.5)
    assert "\n" not in str(no.value)


def test_signs_that_are_not_symmetric_are_refused() -> None:
    """|psi| alone is not enough: a sign rule of one row."""

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        return jastrow(spins)[0], torch.where(spins[:, 0].sum(-1) > 0, 1.0, -1.0)

    with pytest.raises(UserError, match=r"translation by one row \(its phase changes on 4x4\)"):
        sector_of(psi, 4)


def test_sectors_of_two_dimensions_are_refused() -> None:
    """Momentum (pi, 0): even under one translation, odd under the other."""

    def psi(spins: Tensor) -> tuple[Tensor, Tensor]:
        L = spins.shape[-1]
        stripes = (-1.0) ** torch.arange(L)
        value = ((spins * spins.roll(1, -1)).double() * stripes[:, None]).sum((-2, -1))
        return value.abs().log(), torch.sgn(value)

    with pytest.raises(UserError, match=r"\+1 under the translation by one column and -1 .* by sampling"):
        sector_of(psi, 4)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda n: (torch.full((n,), -torch.inf), torch.zeros(n)), "vanishes on 64 random configurations of 4x4"),
        (lambda n: (torch.full((n,), torch.nan), torch.ones(n)), "not finite"),
        (lambda n: (torch.full((n,), torch.inf), torch.ones(n)), "not finite"),
        (lambda n: (torch.zeros(n, 1), torch.ones(n, 1)), r"shapes \(64, 1\)"),
    ],
    ids=["zero", "nan", "infinite", "shape"],
)
def test_what_is_no_wave_function_is_refused(returned: Callable[[int], tuple[Tensor, Tensor]], words: str) -> None:
    """One sentence each."""
    with pytest.raises(UserError, match=words):
        exact_energy(lambda spins: returned(len(spins)), 4, 0.5)


def test_amplitudes_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of an interrupted evaluation are used by the same wave function alone, and removed at the end."""
    from qmcbench.reference.pieces import Pieces

    orbits = build(4, 4)
    asked: list[int] = []

    def counted(spins: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(spins))
        return jastrow(spins)

    def stop(what: str, done: int, total: int) -> None:
        assert (what, total) == ("amplitudes", 107)
        if done > 50:
            raise KeyboardInterrupt

    silent = lambda what, done, total: None  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        exact._amplitudes(counted, orbits, Pieces(tmp_path), 2, stop)
    kept = len(list(tmp_path.iterdir()))
    assert 10 < kept < 20
    asked.clear()
    other = exact._amplitudes(complex_jastrow, orbits, Pieces(tmp_path), 2, silent)
    assert len(list(tmp_path.iterdir())) == kept, "another wave function's pieces are left alone"
    found = exact._amplitudes(counted, orbits, Pieces(tmp_path), 2, silent)
    assert sum(asked) - exact.PROBES < 107 - 45
    assert not list(tmp_path.iterdir())
    log_psi, phase = jastrow(torch.from_numpy(orbits.configurations(0, 107)))
    np.testing.assert_array_equal(found, (phase * (log_psi - log_psi.max()).exp()).numpy())
    assert np.iscomplexobj(other)


def test_interrupted_in_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal during a product ends it at the next step."""
    import os
    import signal

    def send(what: str, done: int, total: int) -> None:
        if what == "full sum":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        exact_energy(jastrow, 4, 0.5, progress=send)


def test_configurations_are_the_states() -> None:
    """Spins of the representatives: row-major from the highest bit, up where it is set."""
    orbits = build(4, 4)
    spins = orbits.configurations(3, 50)
    assert spins.dtype == np.int8
    assert not spins.sum(axis=(1, 2)).any()
    words = ((spins.reshape(47, 16) > 0) @ (1 << np.arange(15, -1, -1))).astype(np.uint64)
    np.testing.assert_array_equal(words, orbits.states[3:50])


@pytest.mark.parametrize("J2", [0.0, 0.5])
def test_ground_state_as_a_wave_function(J2: float, configurations: Tensor) -> None:
    """Its amplitudes on all 12 870 configurations are those of dense algebra, up to one sign for all."""
    total, vector = ground_state(4, J2)
    psi = GroundState(4, J2)
    assert psi.energy == pytest.approx(total / 16, abs=1e-12)
    log_psi, sign = psi(configurations)
    found = (sign * log_psi.exp()).numpy()
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-12)
    assert abs(found @ vector) == pytest.approx(1, abs=1e-12)


def test_local_energies_of_the_ground_state_have_no_variance() -> None:
    """The engine's own local energies, on random configurations: the exact energy at each."""
    psi = GroundState(4, 0.5)
    spins = exact._random_configurations(4)
    log_psi, sign = psi(spins)
    clear = log_psi > -12  # the ground state vanishes on some configurations
    found = local_energies(psi, J1J2(4, 0.5), spins[clear], log_psi[clear], sign[clear])
    assert clear.sum() > 40
    assert (found / 16 - psi.energy).abs().max() < 1e-8


def test_command_prints_the_sum(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A table, or JSON with every field; the lattice and coupling of the checkpoint unless told otherwise."""
    config = Config(model=Model(L=4, J2=0.4))
    monkeypatch.setattr(exact, "load_ansatz", lambda path, symmetry: (jastrow, config))
    print_exact(Path("any"), None, None, None, quiet=True, as_json=False)
    text = capsys.readouterr().out
    expected = exact_energy(jastrow, 4, 0.4)
    assert "4x4, J2 = 0.4 J1: full sum over 107 orbits" in text
    for value in (expected.energy, expected.exact_energy, expected.one_step_energy):
        assert f"{value:.10f}" in text
    print_exact(Path("any"), 4, 0.5, None, quiet=True, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["J2"] == 0.5
    assert found["energy"] == exact_energy(jastrow, 4, 0.5).energy
    assert set(found) == {field.name for field in fields(ExactEvaluation)}


def test_interrupted_command_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """With where it goes on."""
    monkeypatch.setattr(exact, "load_ansatz", lambda path, symmetry: (jastrow, Config(model=Model(L=4, J2=0.4))))

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "moments", stop)
    with pytest.raises(Interrupted, match=r"what is finished is kept in .*, and the same command goes on"):
        exact.exact_energy_of(Path("any"), quiet=True)


def test_torch_keeps_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba's parallel loops may set the threads of the OpenMP that torch shares: torch has its own afterwards."""
    right = exact._orbits_and_ground

    def shared(*given: object) -> object:
        torch.set_num_threads(before + 1)
        return right(*given)

    before = torch.get_num_threads()
    monkeypatch.setattr(exact, "_orbits_and_ground", shared)
    try:
        exact_energy(GroundState(4, 0.5), 4, 0.5)
        assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)
