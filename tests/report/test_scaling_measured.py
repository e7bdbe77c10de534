"""Tables of INVENTED strong and weak scaling."""

from dataclasses import replace

from helpers.stores import full, named, strong_run, weak_run

from qmcbench.report.scaling import measured as scaling_measured
from qmcbench.store.scaling import StrongRun, WeakRun


def test_strong_tables() -> None:
    """Seconds, rates of one rank, memory; runs with more ranks than cores are marked."""
    strong, _ = full()
    tables = scaling_measured.strong_tables(strong.of(StrongRun))
    one, two, _, _, four, other = named(tables, "Seconds: 3,531 parameters, 2,560 samples, covariance")
    assert one == {
        "ranks": "1", "grid": "1x1", "block": "128", "routines": "pdgemr2d, pdgemm", "redistribution": "2",
        "product": "8", "pdpotrf": "16", "solves": "1", "total": "27", "min..max": "24.3..29.7", "speedup": "1.00",
        "note": "",
    }  # fmt: skip
    assert (two["grid"], two["pdpotrf"], two["speedup"], two["note"]) == ("1x2", "8", "2.00", "")
    assert (four["grid"], other["grid"]) == ("2x2", "1x4")
    assert four["note"] == other["note"] == "more ranks than cores"
    rates = named(tables, "Rates and memory: 16,249 parameters")
    # 2 x 16249^2 x 2560 operations in 8 s, 16249^3 / 3 in 16 s.
    assert [row["product GF/s a rank"] for row in rates] == ["169", "169", "169"]
    assert [row["pdpotrf GF/s a rank"] for row in rates] == ["89.4", "89.4", "89.4"]
    assert (rates[1]["of dgemm"], rates[1]["of dgemm*"]) == ("1.51", "0.80")
    assert (rates[0]["GB a rank, estimated"], rates[0]["GB a rank, measured"]) == ("3", "3")
    (unfit_,) = named(tables, "Not run")
    assert unfit_["what"].startswith("106529 parameters, 2 ranks")
    assert "92.6 GB" in unfit_["what it needs"]


def test_memory_that_did_not_show() -> None:
    """A problem smaller than what the process had held before has no measured memory."""
    run = strong_run(estimate_bytes=10**6, peak_bytes=(10**9,), before_bytes=(10**9,))
    (row,) = named(scaling_measured.strong_tables([run]), "Rates")
    assert (row["GB a rank, estimated"], row["GB a rank, measured"]) == ("0.001", "–")


def test_choices() -> None:
    """Ratios to the run that differs in one thing alone; one that differs in two is compared with nothing."""
    runs = [
        *(strong_run(3531, ranks) for ranks in (1, 2, 4)),
        strong_run(3531, 2, product="pdsyrk", seconds={"product": 3.0}),
        strong_run(3531, 2, product="pdsyrk", redistribution="alltoall"),
        strong_run(3531, 2, block=64, seconds={"factorisation": 4.0}),
        strong_run(3531, 4, grid=(4, 1)),
    ]
    found = named(scaling_measured.strong_tables(runs), "What grids")
    assert [(row["ranks"], row["instead of"], row["with"]) for row in found] == [
        ("2", "pdgemm", "pdsyrk"),
        ("2", "block 128", "64"),
        ("4", "grid 2x2", "4x1"),
    ]
    assert [row["product"] for row in found] == ["0.75", "1.00", "1.00"]
    assert [row["pdpotrf"] for row in found] == ["1.00", "0.50", "1.00"]
    assert [row["total"] for row in found] == ["0.93", "0.70", "1.00"]


def test_weak_tables() -> None:
    """Efficiency, imbalance, and the overhead beside the paper's of the same network, lattice and symmetry."""
    _, weak = full()
    tables = scaling_measured.weak_tables(weak.of(WeakRun))
    rows = named(tables, "Iterations")
    assert [row["network, lattice, symmetry"] for row in rows] == ["medium, 10x10"] * 2 + ["medium, 10x10, C4"] * 2
    assert [row["Monte Carlo s"] for row in rows] == ["4", "4.2"] * 2
    assert [row["efficiency"] for row in rows] == ["1.000", "0.952"] * 2
    assert [row["imbalance"] for row in rows] == ["0.000", "0.067"] * 2
    assert (rows[1]["overhead"], rows[1]["samples/s"]) == ("0.200", "6.4")
    assert rows[0]["paper's overhead (processes)"] == "0.453 (256) to 0.332 (10,000)"
    assert rows[2]["paper's overhead (processes)"] == "0.183 (256) to 0.121 (10,000)"
    (other,) = named(scaling_measured.weak_tables([weak_run(24)]), "Iterations")
    assert other["paper's overhead (processes)"] == "–"
    (parts,) = named(scaling_measured.weak_tables([weak_run()]), "Parts")
    assert (parts["local energies"], parts["waiting"], parts["SR"], parts["solves"]) == ("1.5", "0.5", "1", "0.1")
    run = weak_run()
    dense = replace(run, times=tuple(replace(each, scalapack=None) for each in run.times))
    (parts,) = named(scaling_measured.weak_tables([dense]), "Parts")
    assert parts["product"] == "–"


def test_weak_labels() -> None:
    """Solver and chains are named only where runs of one network, lattice and symmetry differ in them."""
    runs = [weak_run(10), weak_run(10, 2), weak_run(24, chains=64), weak_run(16), weak_run(16, solver="sample_space")]
    assert scaling_measured.weak_labels(runs) == [
        "medium, 10x10", "medium, 10x10", "medium, 24x24", "medium, 16x16, scalapack", "medium, 16x16, sample_space"
    ]  # fmt: skip
    chains = [weak_run(10, chains=chains) for chains in (16, 64)]
    assert scaling_measured.weak_labels(chains) == [
        "medium, 10x10, 16 chains a rank",
        "medium, 10x10, 64 chains a rank",
    ]
