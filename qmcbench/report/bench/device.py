"""The large network on one device in the benchmark chapter."""

from __future__ import annotations

from qmcbench.bench.names import FORWARD, ITERATION
from qmcbench.bench.roofline import of_sgemm, rates
from qmcbench.report.bench.words import gib, lattice, spread, whence
from qmcbench.report.document import Row, Table
from qmcbench.report.numbers import count, duration, fixed, number
from qmcbench.store.bench import Memory, SamplingRate, WorkTime
from qmcbench.store.records import Run


def tables(run: Run) -> list[Table]:
    """Forward pass, sampling and iteration of each system."""
    sgemm = rates(run).get("sgemm")
    iterations = {(each.network, each.L): each for each in run.of(WorkTime) if each.work == ITERATION}
    sampling = {(each.network, each.L): each for each in run.of(SamplingRate)}
    memory = {(each.network, each.L): each for each in run.of(Memory)}
    forwards = [each for each in run.of(WorkTime) if each.work == FORWARD]
    rows: list[Row] = []
    for each in forwards:
        system = each.network, each.L
        iteration, rate, most = iterations.get(system), sampling.get(system), memory.get(system)
        rows.append([
            lattice(each), count(each.batch), duration(each.value), spread(each.low, each.high), number(each.GFs, 6),
            fixed(of_sgemm(each, rates(run)), 2), count(rate.chains if rate else None),
            number(rate.value if rate else None), duration(iteration.value if iteration else None),
            gib(most.value if most else None),
        ])  # fmt: skip
    columns = [
        "network", ">batch", ">forward", ">min..max", ">GF/s", ">of sgemm", ">chains", ">samples/s with C4",
        ">iteration", ">peak memory",
    ]  # fmt: skip
    on = forwards[0].device if forwards else "none"
    caption = (
        f"Device: {on}, float32 as PyTorch is set; sgemm {number(sgemm.value if sgemm else None, 6)} GF/s. Forward: "
        "no symmetry. Samples: a sweep of L x L proposals and a local energy each. Iteration: no symmetry, a sample "
        f"of each chain. Medians of {count(forwards[0].repeats if forwards else None)} repeats. {whence(run)}"
    )
    return [Table("The large network", columns, rows, caption)]
