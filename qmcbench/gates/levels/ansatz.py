"""Level *ansatz*: the wave function as a function, whatever it is made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.config import Wavefunction
from qmcbench.gates import plain
from qmcbench.gates.check import Check, unmeasured
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.targets.target import Target
from qmcbench.lattice import all_configurations, neel, random_configurations
from qmcbench.reference import model_spec
from qmcbench.vmc import build_ansatz

HALVES = (torch.float16, torch.bfloat16)
SINGLE = 2.0**-24
"""Relative rounding of float32."""
JITTER = 2.0**-16
"""Relative change of parameters that shows how well conditioned an amplitude is: so small that those of large
networks, products of hundreds of factors and sums of signed images, still change in proportion."""
ROUNDINGS = 500.0
"""Of each factor of the paper's network, that psi may be off its formula."""


def exactly(name: str, value: float | None, bound: float, statement: str, cause: str | None = None) -> Check:
    """An exact check; a value that is not finite is None, which fails."""
    return Check(name=name, check="exact", value=value, bound=bound, statement=statement, cause=cause)


def not_run(name: str, statement: str, why: str) -> Check:
    """An exact check that says why there is nothing to check."""
    return unmeasured(name, "exact", why, statement)


@torch.no_grad()
def values(psi: Ansatz, spins: Tensor) -> tuple[Tensor, Tensor]:
    """(log|psi|, phase), in double precision, however psi gives them."""
    return amplitudes(psi, spins)


def rounding(psi: Ansatz, spins: Tensor) -> float:
    """Relative rounding of the coarsest numbers that psi says it computes with."""
    dtypes = {parameter.dtype for parameter in psi.parameters()} if isinstance(psi, nn.Module) else set()
    with torch.no_grad():
        given = psi(spins[:2])
    dtypes |= {each.dtype for each in given if isinstance(each, Tensor)} if isinstance(given, tuple) else set()
    return max((torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point or dtype.is_complex), default=0)


def distance(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> Tensor:
    """Relative difference of amplitudes, in log|psi| or in the phase, (batch,); infinite where there is no number."""
    equal = one[0] == other[0]  # two zeros of psi, whose difference is none
    size = torch.where(equal, 0.0, (one[0] - other[0]).abs())
    return torch.maximum(size, (one[1] - other[1]).abs()).nan_to_num(torch.inf)


@gate(
    "exact", needs=("psi",), cause="a logarithm of zero, an overflow of exp or of a product, a configuration left out"
)
def finite(target: Target, setting: Setting) -> Iterator[Check]:
    """psi is a number on every configuration (all 12 870 of 4x4, else random ones), and not zero on all of them."""
    assert target.psi is not None
    spins = configurations(target.L, 512 if setting.quick else 4096, setting.seed)
    log_psi, phase = values(target.psi, spins)
    wrong = log_psi.isnan() | (log_psi == torch.inf) | ~torch.isfinite(phase)
    yield exactly(
        "psi is finite",
        float(wrong.sum()),
        0.0,
        f"Of {len(spins)} configurations, how many have a log|psi| neither finite nor -inf, or no finite phase.",
    )
    yield Check(
        name="psi does not vanish",
        check="exact",
        value=float(log_psi.isfinite().double().mean()),
        relation="at least",
        bound=0.01,
        statement="Share of these configurations where psi is not zero.",
        cause="an amplitude that underflows before its logarithm is taken; a sector that psi has nothing in",
    )


def configurations(L: int, count: int, seed: int) -> Tensor:
    """All configurations of 4x4; of larger lattices the Neel state and ``count`` random ones, S^z = 0."""
    return all_configurations(4) if L == 4 else torch.cat([neel(L)[None], random_configurations(L, count, seed)])


@gate(
    "exact",
    needs=("psi",),
    cause="dropout or another random layer left on, state kept between calls, threads that race",
)
def deterministic(target: Target, setting: Setting) -> Iterator[Check]:
    """The same configurations give the same bits twice, and are left as they were."""
    assert target.psi is not None
    spins = random_configurations(target.L, 256, setting.seed)
    given = spins.clone()
    one, other = values(target.psi, given), values(target.psi, given)
    differing = sum(int((a.nan_to_num(7.7) != b.nan_to_num(7.7)).sum()) for a, b in zip(one, other, strict=True))
    yield exactly("the same bits twice", float(differing), 0.0, "Numbers that differ between two equal calls.")
    yield exactly(
        "configurations are left alone",
        float((given != spins).sum()),
        0.0,
        "Spins that psi has changed in the tensor that it was given.",
        "an operation in place (a trailing underscore) on the input",
    )


@gate(
    "exact",
    needs=("psi",),
    cause="batch normalisation, a softmax or a sum over the wrong axis, or a buffer of fixed size",
)
def batches(target: Target, setting: Setting) -> Check:
    """psi of a configuration depends neither on the batch that it comes in nor on its place there."""
    assert target.psi is not None
    psi, count = target.psi, 67
    spins = random_configurations(target.L, count, setting.seed)
    whole = values(psi, spins)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(setting.seed))
    turned = values(psi, spins[order])
    worst = distance(turned, (whole[0][order], whole[1][order]))
    for size in (1, 2, 13, 64):
        parts = [values(psi, part) for part in spins.split(size)[: 16 if size == 1 else None]]
        joined = torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
        off = distance(joined, (whole[0][: len(joined[0])], whole[1][: len(joined[0])]))
        worst = torch.cat([worst, off])
    eps = rounding(psi, spins)
    return exactly(
        "independent of the batch",
        float(worst.amax()),
        max(eps, SINGLE**2) ** 0.5,
        f"Largest relative difference of an amplitude between orders and sizes (1, 2, 13, 64, {count}) of a batch; "
        f"the bound is the root of the relative rounding of what psi computes with, {eps:.1e}.",
    )


@gate("exact", needs=("psi",), cause="the second value is not psi/|psi|")
def phase(target: Target, setting: Setting) -> Check:
    """The second value is psi/|psi|: it has modulus 1 wherever psi does not vanish."""
    assert target.psi is not None
    spins = configurations(target.L, 512, setting.seed)
    log_psi, found = values(target.psi, spins)
    off = (found.abs() - 1).abs()[log_psi.isfinite()].nan_to_num(torch.inf)
    worst = float(off.amax()) if len(off) else 0.0
    cause = None
    if worst > 1e-2:
        example = found[log_psi.isfinite()][int(off.argmax())].item()
        angle = "an angle a, which has to be given as torch.exp(1j * a)"
        if example == 0:
            angle += "; or psi = 0, whose logarithm is -inf"
        cause = (
            f"the second value is {example:.4g}: not psi/|psi| (+1, -1 or a complex number of modulus 1) but {angle}"
        )
    return exactly(
        "phases have modulus 1",
        worst,
        8 * max(rounding(target.psi, spins), SINGLE**2),
        f"Largest | |phase| - 1 | over {len(spins)} configurations.",
        cause,
    )


@gate(
    "exact", needs=("psi", "invariance"), cause="a symmetry that is claimed and not there; images without their signs"
)
def symmetries(target: Target, setting: Setting) -> Iterator[Check]:
    """psi is what it was after each symmetry that it claims: the character is real, and +1."""
    assert target.psi is not None
    spins = random_configurations(target.L, 128, setting.seed)
    states = [target.psi] if (double := _in_double(target.psi, spins)) is None else [target.psi, double]
    for name in target.invariance:
        images = plain.IMAGES[name](spins).contiguous()
        found = [_uneven(psi, spins, images) for psi in states]
        minus = min(odd for _, odd in found) <= 1 < max(even for even, _ in found)
        yield exactly(
            f"invariant under {name}",
            max(even for even, _ in found),
            1.0,
            "Relative difference of psi(g S) from psi(S), in units of the root of the relative rounding of what psi "
            f"computes with{', as it is and in float64' * (len(states) > 1)}: the largest one in float64, the median "
            "in other precisions, where cancellation near nodes may show any rounding.",
            "its character is -1: psi changes its sign under it" if minus else None,
        )


def _uneven(psi: Ansatz, spins: Tensor, images: Tensor) -> tuple[float, float]:
    """Differences of psi(g S) from psi(S) and from -psi(S), in units of what rounding allows."""
    eps = max(rounding(psi, spins), SINGLE**2)
    before, after = values(psi, spins), values(psi, images)
    off = [distance(after, before), distance((after[0], -after[1]), before)]
    even, odd = (float(each.amax() if eps < 1e-10 else each.median()) / eps**0.5 for each in off)
    return even, odd


def _in_double(psi: Ansatz, spins: Tensor) -> nn.Module | None:
    """A copy in float64, if psi is a module of coarser numbers that can be computed so."""
    if not isinstance(psi, nn.Module) or rounding(psi, spins) < 1e-10:
        return None
    try:
        double = plain.cast(psi, torch.float64)
        values(double, spins[:2])
    except Exception:  # whatever it does not bear: to have one precision is no mistake
        return None
    return double


@gate("exact", needs=("psi",), cause="weights, sums or outputs in half precision (float16, bfloat16, TF32)")
def precision(target: Target, setting: Setting) -> Check:
    """psi in its own precision is what it is in float64, amplitude by amplitude, to what rounding would do to it.

    The engine offers float32 as well, so it is looked at in that. Nobody else is asked for a precision that psi does
    not have: what insists on one is judged by the type of its values alone.
    """
    assert target.psi is not None
    psi, name = target.psi, "float32 against float64"
    L = max(8, target.L) if target.engine else target.L
    spins = random_configurations(L, 32 if setting.quick else 256, setting.seed)
    statement = (
        f"Largest difference of an amplitude on {L}x{L}, in units of what a relative change of all parameters by "
        "2^-24 (the rounding of float32) does to it: about 1 for float32, thousands for half precision."
    )
    if not isinstance(psi, nn.Module) or not any(True for _ in psi.parameters()):
        return not_run(name, statement, "psi is no torch.nn.Module with parameters, so its precision is its own")
    coarse = any(parameter.dtype in HALVES for parameter in psi.parameters())
    own = plain.cast(psi, torch.float32) if target.engine and not coarse else psi
    rounded = rounding(psi, spins)
    worst = rounded / (2 * SINGLE) if coarse or rounded > 1e-4 else 0.0
    try:
        worst = max(worst, _off_double(own, spins, setting.seed))
    except Exception as error:  # whatever it does not bear: to have one precision is no mistake
        if not worst:
            return not_run(name, statement, f"psi has no float64: {' '.join(str(error).split())[:200].rstrip('.')}")
    return exactly(name, worst, 100.0, statement)


def _off_double(psi: nn.Module, spins: Tensor, seed: int) -> float:
    """Largest difference of an amplitude from float64, in units of what rounding the parameters to float32 does."""
    double = plain.cast(psi, torch.float64)
    expected = _differentiable(double, spins)
    doubt = SINGLE * (1 + expected[0].abs())
    generator = torch.Generator().manual_seed(seed)
    for _ in range(8):
        # Of a change that is larger than any rounding within psi, scaled down.
        moved = distance(_differentiable(_jittered(double, generator), spins), expected)
        doubt = torch.maximum(doubt, moved * SINGLE / JITTER)
    # The double one without gradients too: compiled code may be a code of its own.
    off = torch.stack([distance(values(each, spins), expected) / doubt for each in (psi, double)])
    return float(off.nan_to_num(torch.inf).amax())


def _differentiable(psi: nn.Module, spins: Tensor) -> tuple[Tensor, Tensor]:
    """psi as it is computed where gradients are asked for."""
    with torch.enable_grad():
        log_psi, found = amplitudes(psi, spins)
    return log_psi.detach(), found.detach()


@torch.no_grad()
def _jittered(psi: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy whose parameters are changed by up to :data:`JITTER`."""
    made = plain.cast(psi, torch.float64)
    for parameter in made.parameters():
        parameter.mul_(1 + JITTER * (2 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 1))
    return made


@gate(
    "exact",
    needs=("engine",),
    cause="a convolution's padding, pooling or Fourier weights; images or their signs in a sum",
)
def papers_network(target: Target, setting: Setting) -> Iterator[Check]:
    """The engine's psi is the paper's formula, layer by layer, with its sign rule and sums over symmetries."""
    for L, symmetry, dtype in (
        (4, "full", "float64"),
        (8, "C4", "float32"),
        (8, "C4", "float64"),
        (6, "none", "float64"),
    ):
        wanted = Wavefunction(network="small", symmetry=symmetry, dtype=dtype)
        psi, spec = build_ansatz(wanted, seed=setting.seed), model_spec("small")
        spins = random_configurations(L, 16, setting.seed)
        parameters = {".".join(name.split(".")[-3:]): p for name, p in psi.named_parameters()}
        plain.enliven(parameters, spec, random_configurations(6, 20, setting.seed), setting.seed)
        doubled = {name: p.detach().double() for name, p in parameters.items()}
        yield exactly(
            f"paper's network, {L}x{L}, {symmetry}, {dtype}",
            off_formula(psi, plain.PaperNetwork(spec, doubled, symmetry), spins, getattr(torch, dtype)),
            ROUNDINGS,
            "Largest difference of psi from the plain formula in float64, in units of the rounding of its type, with "
            "allowance for how much larger rounding is near the zeros of its factors.",
        )


def off_formula(psi: Ansatz, formula: plain.PaperNetwork, spins: Tensor, dtype: torch.dtype) -> float:
    """Largest error over the sum of the terms' own errors, for one rounding of each factor in this precision."""
    expected, doubts = formula.values(spins)
    log_psi, found = values(psi, spins)
    off = (found * log_psi.exp() - expected).abs() / doubts
    return float(off.nan_to_num(torch.inf).amax()) / torch.finfo(dtype).eps
