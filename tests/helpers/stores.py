"""Invented records of strong and weak scaling: the numbers mean nothing."""

from dataclasses import replace
from typing import Any

from qmcbench.provenance import Machine, Provenance
from qmcbench.ranks.mesh import fit_grid
from qmcbench.report.document import Cell, Table
from qmcbench.store.records import Run
from qmcbench.store.scaling import Layout, Libraries, SolveTimes, StepTimes, StrongRun, WeakRun

MACHINE = Machine("Synthetic <CPU>", 2, 8.0, "Linux x86_64")
ORIGIN = Provenance(
    "qmcbench scale --out 'a|b'",
    "2000-01-01T00:00:00+00:00",
    "3.11.7",
    {"qmcbench": "0.1.0", "torch": "2.9.0", "mpi4py": None},
    MACHINE,
)
LIBRARIES = Libraries("Synthetic MPI 1", "Synthetic ScaLAPACK 2")
SECONDS = SolveTimes(redistribution=2.0, product=8.0, factorisation=16.0, solves=1.0)
LAYOUT = ("grid", "block", "product", "redistribution")


def _layout(ranks: int, changes: dict[str, Any]) -> Layout:
    default = Layout(fit_grid(None, ranks), 128, "pdgemm", "pdgemr2d")
    return replace(default, **{name: changes.pop(name) for name in LAYOUT if name in changes})


def _repeats(seconds: SolveTimes) -> tuple[SolveTimes, ...]:
    """A median with a range of 10 % either way."""
    return tuple(SolveTimes(*(factor * each for each in vars(seconds).values())) for factor in (1.0, 0.9, 1.1))


def strong_run(parameters: int = 16249, ranks: int = 1, **changes: Any) -> StrongRun:
    """A run whose phases take 2, 8, 16 and 1 s divided by the ranks, on the most square grid.

    pdpotrf reaches 0.8 of dgemm, unless ``dgemm_GFs`` says otherwise. ``changes`` are keys of the layout or of the
    record, or ``seconds`` (of phases by name).
    """
    layout = _layout(ranks, changes)
    shared = SolveTimes(*(each / ranks for each in vars(SECONDS).values()))
    blank = StrongRun(
        value=None,
        ranks=ranks,
        samples=2560,
        seed=0,
        parameters=parameters,
        layout=layout,
        space="parameters",
        repeats=3,
        dgemm_size=2500,
        oversubscribed=ranks > MACHINE.cores,
        times=_repeats(replace(shared, **changes.pop("seconds", {}))),
        residual=1e-15,
        estimate_bytes=3 * 10**9,
        peak_bytes=(4 * 10**9,) * ranks,
        before_bytes=(10**9,) * ranks,
        libraries=LIBRARIES,
        provenance=ORIGIN,
    )
    rate = blank.rate("factorisation") / ranks / 0.8
    return replace(blank, **{"value": 27.0 / ranks, "dgemm_GFs": rate} | changes)


def weak_run(L: int = 10, ranks: int = 1, **changes: Any) -> WeakRun:
    """A run with Monte Carlo of 4 s on the slowest rank, half a second less on the first, and SR of 1 s.

    ``changes`` are keys of the layout or of the record, or ``mc`` (seconds of the slowest rank).
    """
    network, chains = changes.get("network", "medium"), changes.get("chains", 16)
    solves = SolveTimes(redistribution=0.1, product=0.3, factorisation=0.5, solves=0.1)
    mc = changes.pop("mc", 4.0)
    made = WeakRun(
        value=5.0,
        ranks=ranks,
        samples=chains * ranks,
        seed=0,
        L=L,
        network=network,
        symmetry="none",
        solver="scalapack",
        chains=chains,
        J2=0.5,
        steps=3,
        warm_up=2,
        layout=_layout(ranks, changes),
        oversubscribed=ranks > MACHINE.cores,
        parameters={"small": 3531, "medium": 16249, "large": 106529}[network],
        times=(StepTimes(1.5, 1.5, 0.5, 0.5, 1.0, 5.0, solves),),
        monte_carlo=(mc,),
        rank_monte_carlo=(3.5, *[4.0] * (ranks - 1)) if ranks > 1 else (4.0,),
        rank_waiting=(0.5, *[0.0] * (ranks - 1)),
        energies=(-0.4,),
        peak_bytes=(10**9,) * ranks,
        libraries=LIBRARIES,
        provenance=ORIGIN,
    )
    return replace(made, **changes)


def store(*runs: StrongRun | WeakRun) -> Run:
    """A file's content."""
    kind = "weak" if runs and isinstance(runs[0], WeakRun) else "strong"
    return Run(job=f"scale {kind}", provenance=ORIGIN, records=runs)


def unfit(run: StrongRun | WeakRun) -> StrongRun | WeakRun:
    """A run that did not fit."""
    why = "2 ranks would need 92.6 GB, but 8.0 GB are free; use more nodes."
    return replace(run, value=None, not_run=why, times=())


def full() -> tuple[Run, Run]:
    """Everything on 1 and 2 ranks, something on 4, and what did not fit."""
    strong = store(
        *(strong_run(size, ranks) for size in (3531, 16249) for ranks in (1, 2, 4)),
        strong_run(3531, 2, product="pdsyrk", seconds={"product": 3.0}),
        strong_run(3531, 2, redistribution="alltoall"),
        strong_run(3531, 4, grid=(1, 4)),
        unfit(strong_run(106529, 2)),
    )
    weak = store(*(weak_run(10, ranks, symmetry=s, mc=3.8 + 0.2 * ranks) for s in ("C4", "none") for ranks in (1, 2)))
    return strong, weak


def texts(table: Table) -> list[dict[str, str]]:
    """Rows by the names of the columns, as plain text; of two columns with one name the second has a star."""
    names: list[str] = []
    for name in table.headers:
        names.append(name + "*" if name in names else name)
    plain = [[cell.text if isinstance(cell, Cell) else cell for cell in row] for row in table.rows]
    return [dict(zip(names, row, strict=True)) for row in plain]


def named(tables: list[Table], title: str) -> list[dict[str, str]]:
    """The rows of the one table whose title begins so."""
    (found,) = [table for table in tables if table.title.startswith(title)]
    return texts(found)
