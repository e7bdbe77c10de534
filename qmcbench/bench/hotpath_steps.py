"""Steps of the hot path, each timed before and after: what it was predicted to bring, and what it brings here.

The forms of one piece of work take turns, repeat by repeat, so that a slow spell of the machine meets all of them.
How many times as fast one is, is the median of its ratios turn by turn. Forms that disagree are not timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import Tensor, nn

from qmcbench.ansatz.base import log_product
from qmcbench.ansatz.cnn import CNN
from qmcbench.ansatz.derivatives import log_derivatives
from qmcbench.bench import kernels, operations
from qmcbench.lattice import random_configurations
from qmcbench.ranks.comm import Serial
from qmcbench.sr.solvers import COLUMNS, add_lower
from qmcbench.store.bench import Step

Work = Callable[[], object]
Times = Mapping[str, Sequence[float]]
"""Seconds of each form; those at the same place are of the same turn."""


@dataclass(frozen=True)
class Change:
    """One rewriting: from one form to another of the same workload."""

    step: str
    before: str
    after: str
    remark: str


LAYER_BY_LAYER = Change(
    "log-derivatives layer by layer", "torch.func", "by hand", "before: vmap of grad, at most 256 samples at once"
)
TRIANGLE = Change(
    "one triangle of the Gram matrix", "full", "strips", "float64; Cholesky reads no more than a triangle"
)
SINGLE = Change(
    "Gram matrix in float32", "strips", "float32",
    "the solver sample_space_float32; its gate is the difference of the step",
)  # fmt: skip
STATED = {
    (TRIANGLE.step, "Gram matrix, 1024 x 16249"): 1.75,
    (SINGLE.step, "Gram matrix, 1024 x 16249"): 1.9,
}
"""Predictions written down before the step was: times as fast, by step and workload. Others are counted, or none."""
PARTING = 1e-10
"""Largest relative difference between two forms in float64, in norm, for a time to count."""
PARTING_SINGLE = 1e-6
"""The same of a form in float32."""
CHUNK = 256
"""Samples that torch.func differentiates at once; its memory is proportional, and more are no faster."""


def in_turn(works: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Seconds of ``repeats`` calls of each work, all taking turns, after two uncounted ones of each."""
    for work in works.values():
        work(), work()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            times[name].append(kernels.timed(Serial(), work)[0])
    return times


class _Plain(nn.Module):
    """The plain network as one writes it in PyTorch, differentiable in its parameters."""

    def __init__(self, network: CNN) -> None:
        super().__init__()
        self.network = network

    def forward(self, spins: Tensor) -> tuple[Tensor, Tensor]:
        do, x = operations.Torch(), operations.grid(self.network, spins)
        for block in self.network.blocks():
            conv, deconv = block.conv, block.deconv
            x = do.bias(do.conv2d(do.pad(x, conv.weight.shape[-1] // 2), conv.weight), conv.bias)
            x = do.bias(do.deconv(do.max_pool(x), deconv.weight), deconv.bias)
        return log_product(x.flatten(1))


def derivatives_step(model: str, L: int, samples: int, repeats: int) -> Step:
    """Log-derivatives: the module's own, against torch.func on the plain network, as any other module gets it."""
    spins = random_configurations(L, samples)

    def forms(dtype: torch.dtype) -> dict[str, Callable[[], Tensor]]:
        network = CNN(model, dtype=dtype)
        return {
            "torch.func": partial(log_derivatives, _Plain(network), spins, chunk=CHUNK),
            "by hand": partial(log_derivatives, network, spins),
        }

    workload = f"log-derivatives, {model}, {L}x{L}, {samples} samples"
    # In float32 a pooling may take the other of two sites that are nearly equal, and then the gradients do differ.
    _agree(forms(torch.float64), workload)
    return ratio(LAYER_BY_LAYER, workload, in_turn(forms(torch.float32), repeats))


def gram_steps(samples: int, parameters: int, repeats: int) -> list[Step]:
    """The Gram matrix of the samples: up to the diagonal in strips, against all of it; and that in float32."""
    rows = torch.from_numpy(kernels.synthetic(range(samples), parameters, seed=0))

    def build(add: Callable[[Tensor, Tensor], object], dtype: torch.dtype = torch.float64) -> Tensor:
        gram = torch.zeros(samples, samples, dtype=dtype)
        for columns in rows.split(COLUMNS, dim=1):
            add(gram, columns.to(dtype))
        return gram.tril()

    def strips(gram: Tensor, block: Tensor) -> None:
        add_lower(gram, block, block, 0)

    full = partial(build, lambda gram, block: gram.addmm_(block, block.T))
    half, single = partial(build, strips), partial(build, strips, torch.float32)
    workload = f"Gram matrix, {samples} x {parameters}"
    _agree({"full": full, "strips": half}, workload)
    _agree({"float64": half, "float32": single}, workload, PARTING_SINGLE)
    times = in_turn({"full": full, "strips": half, "float32": single}, repeats)
    return [ratio(TRIANGLE, workload, times), ratio(SINGLE, workload, times)]


def _agree(forms: Mapping[str, Callable[[], Tensor]], workload: str, within: float = PARTING) -> None:
    first, *others = (call() for call in forms.values())
    for other in others:
        difference = ((other - first).norm() / first.norm()).item()
        if not difference <= within:
            raise ArithmeticError(f"{workload}: the forms {', '.join(forms)} differ by {difference:.1e}")


def ratio(change: Change, workload: str, times: Times, predicted: float | None = None) -> Step:
    """What a change brought; a stated prediction goes before a counted one."""
    before, after = times[change.before], times[change.after]
    return Step(
        name=change.step,
        workload=workload,
        before_s=median(before),
        after_s=median(after),
        predicted=STATED.get((change.step, workload), predicted),
        value=median(b / a for b, a in zip(before, after, strict=True)),
        remark=change.remark,
    )
