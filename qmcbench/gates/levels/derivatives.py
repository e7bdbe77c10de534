"""Level *derivatives*: d log psi / d theta against finite differences of psi, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import amplitudes
from qmcbench.ansatz.symmetry import Projected
from qmcbench.errors import UserError
from qmcbench.gates import plain
from qmcbench.gates.check import Check
from qmcbench.gates.levels.ansatz import exactly, not_run, values
from qmcbench.gates.models import Boltzmann, Jastrow
from qmcbench.gates.registry import Setting, gate
from qmcbench.gates.targets import builtin
from qmcbench.gates.targets.target import LogDerivatives, Target
from qmcbench.lattice import random_configurations

STEPS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
"""Of finite differences. A kink of psi (where a maximum changes over) may lie within the longer ones: each sample is
held against the difference that agrees best with it, while a wrong derivative disagrees with all of them."""
SINGLE_STEPS = (1e-2, 3e-3, 1e-3, 3e-4)
"""Of a psi that runs in float32 alone."""
ENTRIES = 1 << 24
"""Of a table of log-derivatives."""
ALONE = " It runs in float32 alone, which allows no closer look."
CAUSE = (
    "a sign or a factor 2; rows or parameters in another order; the phase left out (d log psi, not d log|psi|, where "
    "psi is complex); a sum of images without its signs"
)


@dataclass(frozen=True)
class Point:
    """Where derivatives are looked at: a copy of psi, and configurations."""

    label: str
    psi: nn.Module
    spins: Tensor
    double: bool
    """Whether it runs in float64."""

    def bound(self, double: float, single: float) -> float:
        """Of what is tested, by precision."""
        return double if self.double else single


@gate("exact", needs=("psi", "log_derivatives"), cause=CAUSE)
def finite_differences(target: Target, setting: Setting) -> Iterator[Check]:
    """Log-derivatives are differences of psi along random directions, with its phase where psi is complex."""
    assert target.log_derivatives is not None
    if (why := fixed(target)) is not None:
        yield not_run("log-derivatives against differences", "Log-derivatives are differences of psi.", why)
        return
    for at in points(target, setting, 8):
        name, steps = f"log-derivatives against differences, {at.label}", STEPS if at.double else SINGLE_STEPS
        statement = (
            f"Largest difference along random directions d, relative to |O| |d|, each of {len(at.spins)} samples at "
            f"the best of steps from {steps[0]:g} to {steps[-1]:g}.{'' if at.double else ALONE}"
        )
        found = derivatives(name, statement, target.log_derivatives, at)
        if isinstance(found, Check):
            yield found
            continue
        generator = torch.Generator().manual_seed(setting.seed)
        worst = torch.zeros(len(at.spins), dtype=torch.float64)
        for _ in range(2 if setting.quick else 4):
            direction = torch.randn(found.shape[1], generator=generator, dtype=torch.float64)
            known = torch.cat([slopes(at, direction, step) for step in steps])
            off = (found @ direction.to(found.dtype) - known).abs().nan_to_num(torch.inf).amin(0)
            worst = torch.maximum(worst, off / (found.norm(dim=1) * direction.norm()).clamp(min=1e-300))
        yield exactly(name, float(worst.nan_to_num(torch.inf).amax()), at.bound(1e-8, 1e-2), statement)


@gate("exact", needs=("psi", "log_derivatives"), cause=CAUSE)
def autograd(target: Target, setting: Setting) -> Iterator[Check]:
    """Every single log-derivative is what automatic differentiation of psi gives, sample by sample."""
    assert target.log_derivatives is not None
    if (why := fixed(target)) is not None:
        yield not_run("log-derivatives against autograd", "Log-derivatives are those of autograd.", why)
        return
    for at in points(target, setting, 8):
        name = f"log-derivatives against autograd, {at.label}"
        statement = f"Largest difference of an entry, relative to the row's norm; {len(at.spins)} samples."
        found = derivatives(name, statement, target.log_derivatives, at)
        if isinstance(found, Check):
            yield found
            continue
        expected = differentiated(at)
        if expected is None:
            yield not_run(name, statement, "psi as it is written cannot be differentiated automatically")
            continue
        off = (found - expected).abs().nan_to_num(torch.inf).amax(1) / expected.norm(dim=1).clamp(min=1e-300)
        yield exactly(name, float(off.nan_to_num(torch.inf).amax()), at.bound(1e-9, 1e-3), statement)


@gate(
    "exact",
    needs=("psi", "log_derivatives"),
    cause="the chunks in which samples are differentiated; a buffer used again",
)
def batches(target: Target, setting: Setting) -> Iterator[Check]:
    """A sample's log-derivatives depend neither on the others of its batch nor on how many there are."""
    assert target.log_derivatives is not None
    if (why := fixed(target)) is not None:
        yield not_run("log-derivatives of many samples", "Log-derivatives do not depend on the batch.", why)
        return
    for at in points(target, setting, 8):
        count = max(16, min(300, ENTRIES // sum(part.numel() for part in degrees(at.psi))))
        name = f"log-derivatives of {count} samples, {at.label}"
        statement = "Largest difference of an entry from that of 8 samples at a time, relative to the largest row."
        spins = torch.cat([at.spins, random_configurations(at.spins.shape[-1], count - 8, setting.seed + 1)])
        found = derivatives(name, statement, target.log_derivatives, replace(at, spins=spins))
        if isinstance(found, Check):
            yield found
            continue
        worst = 0.0
        for first in (0, count // 2, count - 8):
            few = real_columns(at.psi, target.log_derivatives(at.psi, spins[first : first + 8]))
            off = (found[first : first + 8] - few).abs().nan_to_num(torch.inf).amax()
            worst = max(worst, float(off / few.norm(dim=1).amax().nan_to_num(0.0).clamp(min=1e-300)))
        yield exactly(name, worst, at.bound(1e-9, 1e-3), statement)


def fixed(target: Target) -> str | None:
    """Why the target's parameters cannot be moved here, if they cannot."""
    psi = target.psi
    if isinstance(psi, nn.Module) and any(parameter.requires_grad for parameter in psi.parameters()):
        return None
    return "psi is no torch.nn.Module with parameters that ask for gradients, so they cannot be moved from here"


def points(target: Target, setting: Setting, count: int) -> Iterator[Point]:
    """psi as it is and less flat, in float64 if it runs so, with random configurations; of the engine others too."""
    psi = target.psi
    assert isinstance(psi, nn.Module)
    for L in (4, 6) if target.engine and not setting.quick else (target.L,):
        spins = random_configurations(L, count, setting.seed)
        double = _runs_in_double(psi, spins)
        for label in ("as it is", "less flat"):
            made = plain.cast(psi, torch.float64) if double else copy.deepcopy(psi)
            if label == "less flat":
                plain.stir(made, spins)
            yield Point(f"{L}x{L}, {label}", made, spins, double)
    if target.engine:
        # The images of all symmetries are more than those of C4 in another order: their spins are flipped.
        yield Point("6x6, all symmetries", builtin.trained(6), random_configurations(6, count, setting.seed), True)
        spins = random_configurations(4, count, setting.seed)
        for label, made in (
            ("complex psi", Jastrow(setting.seed, turning=True)),
            ("complex parameters", Boltzmann(setting.seed, dtype=torch.complex128)),
            ("a sum of complex images", Projected(Boltzmann(setting.seed, dtype=torch.complex128), "C4")),
        ):
            yield Point(f"4x4, {label}", made, spins, True)


def _runs_in_double(psi: nn.Module, spins: Tensor) -> bool:
    try:
        values(plain.cast(psi, torch.float64), spins)
    except RuntimeError:
        return False
    return True


def derivatives(name: str, statement: str, log_derivatives: LogDerivatives, at: Point) -> Tensor | Check:
    """The target's log-derivatives with a column for each real degree of freedom, or what is to be said instead.

    A complex psi that the target refuses is not checked; any other refusal is the target's failure.
    """
    psi, spins = at.psi, at.spins
    try:
        found = log_derivatives(psi, spins)
    except UserError as refusal:
        if values(psi, spins)[1].is_complex() or any(parameter.is_complex() for parameter in psi.parameters()):
            return not_run(name, statement, f"the target refuses it: {refusal}")
        raise
    columns = sum(part.numel() for part in degrees(psi))
    known = {columns, sum(p.numel() for p in psi.parameters() if p.requires_grad)}
    if found.ndim != 2 or found.shape[0] != len(spins) or found.shape[1] not in known:
        shape = f"The shape is {tuple(found.shape)} for {len(spins)} samples and {columns} parameters."
        return exactly(name, None, 0.0, shape)
    return real_columns(psi, found)


def degrees(psi: nn.Module) -> list[Tensor]:
    """Views of the parameters that are trained, in order; complex ones as their real and imaginary parts."""
    parameters = [parameter.detach() for parameter in psi.parameters() if parameter.requires_grad]
    return [torch.view_as_real(each) if each.is_complex() else each for each in parameters]


def real_columns(psi: nn.Module, found: Tensor) -> Tensor:
    """Log-derivatives in double precision; one column for a complex parameter gives two, O and i O (analytic psi)."""
    found = found.to(torch.complex128 if found.is_complex() else torch.float64)
    parameters = [parameter for parameter in psi.parameters() if parameter.requires_grad]
    if found.shape[1] == sum(part.numel() for part in degrees(psi)):
        return found
    parts = found.to(torch.complex128).split([parameter.numel() for parameter in parameters], dim=1)
    return torch.cat(
        [
            torch.stack([part, 1j * part], -1).flatten(1) if parameter.is_complex() else part
            for parameter, part in zip(parameters, parts, strict=True)
        ],
        dim=1,
    )


@torch.no_grad()
def slopes(at: Point, direction: Tensor, step: float) -> Tensor:
    """Derivatives of log psi along ``direction`` by second-order differences, (3, batch), complex if psi is.

    The central one, and those to either side alone: where a kink of psi lies within the step, one of them is right.
    They are differences of psi over psi, which a node nearby does not trouble. The parameters end as they were.
    """
    psi, spins = at.psi, at.spins
    parts = degrees(psi)
    start = [part.clone() for part in parts]
    pieces = direction.split([part.numel() for part in parts])
    log_psi, phase = values(psi, spins)
    ratio = {}
    for times in (-2, -1, 1, 2):
        for part, begin, piece in zip(parts, start, pieces, strict=True):
            part.copy_(begin + times * step * piece.view_as(part))
        there, turned = values(psi, spins)
        ratio[times] = turned * phase.conj() * (there - log_psi).exp()
    for part, begin in zip(parts, start, strict=True):
        part.copy_(begin)
    central = ratio[1] - ratio[-1]
    sides = [sign * (4 * ratio[sign] - ratio[2 * sign] - 3) for sign in (1, -1)]
    return torch.stack([central, *sides]) / (2 * step)


def differentiated(at: Point) -> Tensor | None:
    """d log psi by reverse automatic differentiation, one sample at a time, or None if psi has no graph."""
    parameters = [parameter for parameter in at.psi.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        log_psi, phase = amplitudes(at.psi, at.spins)
        if not log_psi.requires_grad:
            return None
        rows = [_row(each, parameters) for each in log_psi]
        if not phase.is_complex():
            return torch.stack(rows)
        angle = (phase.detach().conj() * phase).imag
        turns = [_row(each, parameters) if angle.requires_grad else torch.zeros_like(rows[0]) for each in angle]
    return torch.complex(torch.stack(rows), torch.stack(turns))


def _row(value: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Derivatives of one number; of a complex parameter by its real and its imaginary part."""
    gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
    parts = [
        torch.zeros_like(parameter) if gradient is None else gradient
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return torch.cat([(torch.view_as_real(part) if part.is_complex() else part).flatten().double() for part in parts])
