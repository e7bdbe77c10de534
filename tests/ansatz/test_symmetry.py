"""Projections: equal to explicit sums, invariant, each image once, and stable where the explicit sum is not.

What they are worth, on 4x4 by full sums, is in ``test_sectors.py``.
"""

import cmath
import math
from collections.abc import Callable

import pytest
import torch
from plain import C4, lively, random_spins
from torch import Tensor, nn

from qmcbench import group
from qmcbench.ansatz.base import Ansatz, invariance, log_sum
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.ansatz.sign import MarshallSign, marshall_sign
from qmcbench.ansatz.symmetry import Projected
from qmcbench.config import Wavefunction
from qmcbench.errors import UserError
from qmcbench.vmc import build_ansatz

# No rotation leaves it as it is.
ASYMMETRIC = torch.tensor([[1, 1, 1, 1], [1, 1, -1, 1], [-1, -1, -1, -1], [-1, 1, -1, -1]], dtype=torch.int8)


def rotated(spins: Tensor, turns: int) -> Tensor:
    """Site (i, j) takes the spin of (j, L - 1 - i), ``turns`` times: a quarter turn, written out."""
    for _ in range(turns):
        L = spins.shape[-1]
        i, j = torch.meshgrid(torch.arange(L), torch.arange(L), indexing="ij")
        spins = spins[..., j, L - 1 - i]
    return spins


def test_rotations_are_the_four_quarter_turns() -> None:
    """The list holds the configuration turned by 0, 90, 180 and 270 degrees; four turns are none."""
    spins = random_spins(6, 3)
    turned = C4(lively("small")).images(spins).unbind(1)
    assert len(turned) == 4
    for turns, one in enumerate(turned):
        assert torch.equal(one, rotated(spins, turns))
    assert torch.equal(rotated(turned[3], 1), spins)
    assert len({bytes(one.numpy().tobytes()) for one in C4(lively("small")).images(ASYMMETRIC[None]).squeeze(0)}) == 4


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("model", ["small", "medium", "large"])
def test_sum_of_four_amplitudes(model: str, L: int) -> None:
    """psi is the sum of the four signed amplitudes in float64, among which both signs occur."""
    base = MarshallSign(lively(model))
    spins = random_spins(L, 20)
    with torch.no_grad():
        log_abs, sign = C4(base)(spins)
        terms = []
        for turns in range(4):
            one_log, one_sign = base(rotated(spins, turns))
            terms.append(one_sign * one_log.exp())
    total = torch.stack(terms).sum(0)
    assert (torch.stack(terms).sign().sum(0).abs() < 4).any()
    torch.testing.assert_close(sign * log_abs.exp(), total, rtol=1e-9, atol=0)


@pytest.mark.parametrize("model", ["small", "large"])
def test_invariance(model: str) -> None:
    """Turning a configuration changes neither log|psi| nor the sign."""
    psi, spins = C4(MarshallSign(lively(model))), random_spins(6, 20)
    with torch.no_grad():
        log_abs, sign = psi(spins)
        for turns in (1, 2, 3):
            turned, turned_sign = psi(rotated(spins, turns))
            torch.testing.assert_close(turned, log_abs, rtol=0, atol=1e-8)
            assert torch.equal(turned_sign, sign)


def amplitudes(tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor], *terms: complex) -> Ansatz:
    """A wave function with the amplitudes ``exp(800) * terms`` for the four turns of ``ASYMMETRIC``, 1 elsewhere."""
    log_psi = torch.zeros(12870, dtype=torch.float64)
    phase = torch.ones(12870, dtype=torch.complex128 if any(isinstance(t, complex) for t in terms) else torch.float64)
    for turns, term in enumerate(terms):
        where = position(rotated(ASYMMETRIC, turns)[None])
        log_psi[where] = 800 + math.log(abs(term)) if term else -math.inf
        phase[where] = term / abs(term) if term else 0
    return tabulated(log_psi, phase)


@pytest.mark.parametrize(
    "terms",
    [
        pytest.param((1.0, 2.0, -0.5, 1.5), id="mixed-signs"),
        pytest.param((-1.0, -2.0, -3.0, -4.0), id="all-negative"),
        pytest.param((1.0, -1.0, 1e-9, 0.0), id="nearly-cancelling"),
        pytest.param((1.0, -1.0, -1e-14, 0.0), id="cancelling-to-rounding"),
        pytest.param((1e-300, 1e-280, 1.0, 1e300), id="every-scale"),
        pytest.param((0.0, 0.0, -3.0, 0.0), id="one-term-left"),
        pytest.param((1j, 1.0 + 0j, -2.0 + 0j, 3 - 1j), id="complex"),
    ],
)
def test_sums_no_exponential_can_hold(
    terms: tuple[complex, ...], tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """Terms of the order of exp(800) sum without overflow, to the rounding of the largest one."""
    log_abs, phase = C4(amplitudes(tabulated, position, *terms))(ASYMMETRIC[None])
    total = sum(terms)
    rounding = 1e-12 * max(abs(t) for t in terms) / abs(total)
    assert log_abs.item() - 800 == pytest.approx(math.log(abs(total)), rel=0, abs=rounding + 1e-12)
    assert cmath.isclose(phase.item(), total / abs(total), rel_tol=1e-12 + rounding)


@pytest.mark.parametrize("terms", [(0.0, 0.0, 0.0, 0.0), (1.0, -1.0, 1.0, -1.0)], ids=["no-terms", "cancelling"])
def test_vanishing_sums(
    terms: tuple[float, ...], tabulated: Callable[..., Ansatz], position: Callable[[Tensor], Tensor]
) -> None:
    """Where all terms vanish or cancel exactly psi is (-inf, 0), never nan, and the rest of the batch is unharmed."""
    other = random_spins(4, 1)
    log_abs, phase = C4(amplitudes(tabulated, position, *terms))(torch.cat([ASYMMETRIC[None], other]))
    assert log_abs[0].item() == -math.inf
    assert phase[0].item() == 0
    assert log_abs[1].item() == pytest.approx(math.log(4), abs=1e-14)
    assert phase[1].item() == 1


def test_log_sum_along_either_axis() -> None:
    """The sum runs along the axis that is asked for."""
    log_abs = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, -torch.inf]], dtype=torch.float64)
    sign = torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 0.0]], dtype=torch.float64)
    for dim in (0, 1):
        total, total_sign = log_sum(log_abs, sign, dim)
        torch.testing.assert_close(total_sign * total.exp(), (sign * log_abs.exp()).sum(dim), rtol=1e-14, atol=0)


class Plain(nn.Module):
    """A wave function with both signs that no symmetry leaves as it is."""

    def __init__(self, L: int = 4) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.weight = nn.Parameter(0.3 * torch.randn(5, L * L, generator=generator, dtype=torch.float64))
        self.bias = nn.Parameter(torch.randn(5, generator=generator, dtype=torch.float64))

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        hidden = spins.flatten(1).double() @ self.weight.T + self.bias
        return hidden.abs().log().sum(1), hidden.sign().prod(1)


class Turning(Plain):
    """The same with a fixed complex phase that depends on the configuration."""

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        log_psi, sign = super().forward(spins)
        angle = spins.flatten(1).double() @ torch.arange(spins[0].numel(), dtype=torch.float64).sin()
        return log_psi, sign * torch.exp(1j * angle)


class Recording(nn.Module):
    """Keeps the configurations that reach ``base``, and states ``invariance``."""

    def __init__(self, base: nn.Module, invariance: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.base, self.invariance = base, invariance
        self.seen: list[Tensor] = []

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(spins)
        log_psi, phase = self.base(spins)
        return log_psi, phase


def transformed(names: str | tuple[str, ...], spins: Tensor) -> Tensor:
    """Each configuration after these generators, written out with torch's operations."""
    for name in (names,) if isinstance(names, str) else names:
        match name.rpartition(" "):
            case (_, _, "rotation"):
                spins = spins.rot90(1, (-2, -1))
            case (_, _, "reflection"):
                spins = spins.flip(-1)
            case (_, _, "flip"):
                spins = -spins
            case (direction, _, "shift"):
                spins = spins.roll(2 if "double" in direction else 1, -2 if "row" in direction else -1)
            case _:
                raise AssertionError(name)
    return spins


def assert_equal_amplitudes(
    one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], *, character: int = 1, factor: float = 1
) -> None:
    """psi_one = factor * character * psi_other, relative to the largest amplitude of the batch."""
    top = other[0].max()
    a, b = one[1] * (one[0] - top).exp(), other[1] * (other[0] - top).exp()
    torch.testing.assert_close(a, character * factor * b, rtol=1e-9, atol=1e-9 * factor)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_C4_has_the_bits_of_a_sum_by_hand(dtype: str) -> None:
    """ "C4" gives what four evaluations, one of each rotation, summed give, bit for bit; "rotation" is the same."""
    spins = random_spins(6, 20)
    psi = build_ansatz(Wavefunction(symmetry="C4", sign="none", dtype=dtype), seed=3)
    assert isinstance(psi, Projected)
    with torch.no_grad():
        terms = [psi.base(spins.rot90(turns, (-2, -1))) for turns in range(4)]
        log_psi, phase = log_sum(*(torch.stack(each) for each in zip(*terms, strict=True)), dim=0)
        for symmetry in ("C4", "rotation"):
            found, sign = Projected(psi.base, symmetry)(spins)
            assert torch.equal(found, log_psi)
            assert torch.equal(sign, phase)


@pytest.mark.parametrize("model", ["network", "plain"])
@pytest.mark.parametrize("symmetry", ["none", "C4", "C4v", "full", "-rotation, spin flip"])
def test_every_image_is_evaluated_once(symmetry: str, model: str) -> None:
    """No two configurations that reach the wave function are the same up to what it is invariant under.

    One projection evaluates as many as it has images: 1, 4, 8, 32 of the network and 1, 4, 8, 256 of what states no
    invariance.
    """
    own = group.PAIRED_COLUMNS if model == "network" else ()
    base = Recording(lively("small") if own else Plain(), own)
    # Its orbit under all 256 symmetries is as large as it can be.
    spins = generic()
    with torch.no_grad():
        Projected(base, symmetry)(spins)
    (seen,) = base.seen
    tables = [(torch.from_numpy(group.sites(element, 4)), element.flip) for element in group.closure(own, 4)]
    same = torch.stack([flip * seen.flatten(1)[:, table] for table, flip in tables], 1)
    smallest = {min(bytes(each.numpy().tobytes()) for each in images) for images in same}
    expected = {"none": 1, "C4": 4, "C4v": 8, "full": 32 if own else 256, "-rotation, spin flip": 8}[symmetry]
    assert len(smallest) == len(seen) == expected


def generic() -> Tensor:
    """A 4x4 configuration that only the identity leaves as it is, shape (1, 4, 4)."""
    everything = tuple(name for name, _ in group.PRESETS["full"])
    for spins in random_spins(4, 200).split(1):
        if len(Projected(Plain(), "full").images(spins).squeeze(0).unique(dim=0)) == len(
            group.closure(everything, 4)
        ):
            return spins
    raise AssertionError("no configuration without symmetry among 200")


@pytest.mark.parametrize("symmetry", ["full", "-rotation, reflection, spin flip"])
def test_omitted_images_only_change_the_factor(symmetry: str) -> None:
    """The network summed over coset representatives is the sum over the whole group, over the images left out."""
    network, spins = lively("small"), random_spins(4, 10)
    whole = Projected(Recording(network), symmetry)
    short = Projected(network, symmetry)
    with torch.no_grad():
        factor = whole.images(spins).shape[1] / short.images(spins).shape[1]
        assert factor == (8 if symmetry == "full" else 1)
        assert_equal_amplitudes(whole(spins), short(spins), factor=factor)


SECTORS = [
    "C4",
    "C4v",
    "full",
    "-rotation",
    "rotation, -reflection",
    "-rotation, reflection, -spin flip",
    "rotation, -reflection, column shift, -spin flip",
]


@pytest.mark.parametrize("L", [4, 6])
@pytest.mark.parametrize("symmetry", SECTORS)
def test_characters_of_psi(symmetry: str, L: int) -> None:
    """A generator multiplies psi by its character; what the projection says it is invariant under leaves it."""
    psi, spins = Projected(lively("small"), symmetry), random_spins(L, 10)
    with torch.no_grad():
        amplitudes = psi(spins)
        assert amplitudes[0].isfinite().any()
        for name, character in psi.generators:
            assert_equal_amplitudes(psi(transformed(name, spins)), amplitudes, character=character)
        for name in psi.invariance:
            assert_equal_amplitudes(psi(transformed(name, spins)), amplitudes)


@pytest.mark.parametrize("symmetry", ["-rotation, -column shift", "-row shift, spin flip", "-double row shift"])
def test_momenta_of_any_wave_function(symmetry: str) -> None:
    """What the network's own symmetry forbids another wave function has: characters -1 of shifts."""
    psi, spins = Projected(Plain(), symmetry), random_spins(4, 10)
    with torch.no_grad():
        amplitudes = psi(spins)
        for name, character in psi.generators:
            assert_equal_amplitudes(psi(transformed(name, spins)), amplitudes, character=character)


@pytest.mark.parametrize("base", ["network", "plain"])
@pytest.mark.parametrize("symmetry", ["C4", "full", "-rotation, reflection, -spin flip"])
def test_projecting_twice(symmetry: str, base: str) -> None:
    """A projection of a projection is the same up to a factor, whether the outer one knows the inner or not.

    If it knows, what was summed with the character +1 is not summed again.
    """
    once = Projected(lively("small") if base == "network" else Plain(), symmetry)
    spins = random_spins(4, 5)
    twice, unknowing = Projected(once, symmetry), Projected(Recording(once), symmetry)
    with torch.no_grad():
        counts = [psi.images(spins).shape[1] for psi in (twice, unknowing)]
        assert (counts[0] == 1) == ("-" not in symmetry)
        assert counts[1] == len(group.images(once.generators, (), 4))
        for psi, count in zip((twice, unknowing), counts, strict=True):
            assert_equal_amplitudes(psi(spins), once(spins), factor=count)


def test_projecting_into_two_sectors() -> None:
    """Nothing is left of a sector in another: refused where the wave function states its sector, zero where not."""
    once, spins = C4(lively("small")), random_spins(4, 5)
    with pytest.raises(UserError, match=r"every amplitude vanishes .* own symmetry"):
        Projected(once, "-rotation")(spins)
    with torch.no_grad():
        assert (Projected(Recording(once), "-rotation")(spins)[0] < once(spins)[0] - 25).all()


@pytest.mark.parametrize(
    ("symmetry", "L", "reason"),
    [
        pytest.param("-row shift", 4, "own symmetry", id="own"),
        pytest.param("column shift, -double column shift", 4, "contradict", id="square"),
        pytest.param("rotation, -column shift", 6, "own symmetry", id="turned"),
    ],
)
def test_contradictions_are_refused(symmetry: str, L: int, reason: str) -> None:
    """Characters that leave the network no amplitude are a sentence and no nan, through the sign too."""
    with pytest.raises(UserError, match=rf"on the {L}x{L} lattice: .*{reason}"):
        MarshallSign(Projected(lively("small"), symmetry))(random_spins(L, 2))


@pytest.mark.parametrize("stated", ["row shift", ("rotate",), (1,), {"rotation": 1}], ids=str)
def test_a_wrong_statement_of_invariance(stated: object) -> None:
    """What a wave function says of itself is checked."""
    base = Recording(Plain())
    base.invariance = stated  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"^Recording.invariance = .* a tuple of the names .*, spin flip.$"):
        Projected(base, "C4")(random_spins(4, 2))


def test_invariance_of_the_sign() -> None:
    """The sign rule leaves what is below it as invariant as it is, and a plain function states nothing."""
    assert invariance(MarshallSign(lively("small"))) == group.PAIRED_COLUMNS
    assert invariance(MarshallSign(Plain())) == ()


@pytest.mark.parametrize("L", [4, 6, 10])
@pytest.mark.parametrize("name", group.GENERATORS)
def test_every_symmetry_keeps_the_sign_rule(name: str, L: int) -> None:
    """Marshall's sign is the same on every image, which is why it states its base's invariance as its own."""
    spins = random_spins(L, 50)
    assert torch.equal(marshall_sign(transformed(name, spins)), marshall_sign(spins))
    assert len(marshall_sign(spins).unique()) == 2


@pytest.mark.parametrize(
    "base",
    [
        pytest.param(lambda: lively("small"), id="network"),
        pytest.param(lambda: MarshallSign(lively("small")), id="sign-of-network"),
        pytest.param(Plain, id="module"),
        pytest.param(Turning, id="complex-phase"),
    ],
)
@pytest.mark.parametrize("symmetry", ["C4v", "full", "-rotation, reflection, spin flip"])
def test_log_derivatives(base: Callable[[], nn.Module], symmetry: str) -> None:
    """Along random directions they are the central differences of log|psi|, in sectors with -1 too."""
    psi = Projected(base(), symmetry)
    spins = generic().repeat(4, 1, 1)
    spins[1:] = random_spins(4, 3, seed=8)
    with torch.no_grad():
        ours, parameters = log_derivatives(psi, spins), list(psi.parameters())
        assert ours.dtype == (torch.complex128 if isinstance(psi.base, Turning) else torch.float64)
        ours = ours.real  # the imaginary parts are held to account in test_complex.py
        start = nn.utils.parameters_to_vector(parameters).clone()
        for seed in range(3):
            direction = torch.randn(len(start), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
            predicted, ends = ours @ direction, []
            step = 1e-4 / predicted.abs().max()
            for side in (1, -1):
                nn.utils.vector_to_parameters(start + side * step * direction, parameters)
                ends.append(psi(spins)[0])
            nn.utils.vector_to_parameters(start, parameters)
            slope = (ends[0] - ends[1]) / (2 * step)
            assert predicted.isfinite().all()
            assert (slope - predicted).abs().max() < 1e-6 * predicted.abs().max()
