"""The times that the paper prints (arXiv:2108.13830, Table 3 and Figs. 9 and 10) as points of the cost model.

Table 3's column for Monte Carlo is the whole iteration: mc_s - scalapack_s does not depend on the number of processes
(10x10 without symmetry, large network: 35.2, 36.4, 35.9, 39.8 s on 1024 to 40 000), and Sec. 4.2 speaks of "the total
execution time of a complete iteration". So the Monte Carlo time is that difference, and the "overhead" is ScaLAPACK's
share of the iteration.
"""

from __future__ import annotations

from qmcbench.reference import paper
from qmcbench.scaling.model import Point
from qmcbench.store.scaling import Work

FIGURE10_LATTICES = (10, 16, 24)


def table3() -> list[Point]:
    """As printed: ``sr`` (the column ScaLAPACK) and four times ``iteration`` for each network and process count."""
    points = []
    for row in paper.table3["rows"]:
        points.append(Point("sr", _work(row["parameters"], row["processes"]), row["scalapack_s"], "Table 3"))
        points += [
            Point("iteration", _case(row, case), time, "Table 3")
            for case, time in zip(paper.table3["cases"], row["mc_s"], strict=True)
        ]
    return points


def monte_carlo() -> list[Point]:
    """Table 3's iterations less their ScaLAPACK time."""
    return [
        Point("monte_carlo", _case(row, case), time - row["scalapack_s"], "Table 3")
        for row in paper.table3["rows"]
        for case, time in zip(paper.table3["cases"], row["mc_s"], strict=True)
    ]


def figure9() -> list[Point]:
    """pdpotrf and pdgemm, as printed."""
    return [
        Point(phase, _work(series["parameters"], processes), time, "Fig. 9")
        for series in (paper.figure9["medium"], paper.figure9["large"])
        for phase, key in (("factorisation", "pdpotrf_s"), ("product", "pdgemm_s"))
        for processes, time in zip(series["processes"], series[key], strict=True)
    ]


def data_operations() -> list[Point]:
    """What Fig. 9 leaves of Table 3's ScaLAPACK time: 1 to 7 % of it, so known only to some 10 % after rounding."""
    parts: dict[Work, float] = {}
    for point in figure9():
        parts[point.work] = parts.get(point.work, 0.0) + point.seconds
    return [
        Point("data", point.work, point.seconds - parts[point.work], "Table 3 - Fig. 9")
        for point in table3()
        if point.phase == "sr"
    ]


def figure10() -> list[Point]:
    """pdpotrf, pdgemm and data operations with half of Table 3's samples a process, as printed.

    Without pdpotrf on 10 000 and 40 000 processes, which does not depend on the samples: Fig. 9 has the same two.
    """
    figure = paper.figure10
    parameters = paper.figure9["large"]["parameters"]
    seen = set(paper.figure9["large"]["processes"])
    return [
        Point(phase, _work(parameters, processes, figure["samples_per_process"]), time, "Fig. 10")
        for phase, key in (("factorisation", "pdpotrf_s"), ("product", "pdgemm_s"), ("data", "data_op_s"))
        for processes, time in zip(figure["processes"], figure[key], strict=True)
        if not (phase == "factorisation" and processes in seen)
    ]


def figure10_sums() -> list[Point]:
    """The three bars of each process count of Fig. 10 together: all of SR."""
    figure = paper.figure10
    bars = zip(figure["processes"], figure["pdpotrf_s"], figure["pdgemm_s"], figure["data_op_s"], strict=True)
    parameters = paper.figure9["large"]["parameters"]
    return [
        Point("sr", _work(parameters, processes, figure["samples_per_process"]), sum(parts), "Fig. 10")
        for processes, *parts in bars
    ]


def small_scale() -> list[Point]:
    """What the model is fitted to for the held-out test: Table 3 and Fig. 9, each time once."""
    return monte_carlo() + figure9() + data_operations()


def _work(parameters: int, processes: int, each: int | None = None, L: int | None = None, rotations: int = 1) -> Work:
    samples = (each or paper.table3["samples_per_process"]) * processes
    return Work(parameters, samples, processes, L, rotations)


def _case(row: dict[str, int], case: str) -> Work:
    """The work of one of Table 3's columns, say ``16x16-sym``."""
    lattice, symmetry = case.split("-")
    L = int(lattice.split("x")[0])
    return _work(row["parameters"], row["processes"], L=L, rotations=4 if symmetry == "sym" else 1)
