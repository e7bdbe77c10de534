"""``qmcbench reproduce`` and ``zero-shot``: whole lists of runs, with their report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from qmcbench.cli.common import Quiet, number, typed

REPRODUCE_EPILOG = "Example: `qmcbench reproduce --profile quick --out reports/quick`"


def reproduce(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its runs.")],
    profile: Annotated[str, typer.Option(help="quick (3 minutes on 2 cores) or cpu (9 minutes).")] = "quick",
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of every run.")] = None,
    quiet: Quiet = False,
) -> None:
    """The main job: exact energies, training, checks and timings in one report. Exit status 1 if a check fails."""
    from qmcbench.jobs import reproduce as job

    results = job.reproduce(job.load_profile(profile, seed), out, command=typed(), quiet=quiet)
    for row in results["runs"]:
        found = row["evaluation"]
        print(
            f"{row['name']:<12} E/N = {found['energy']:.6f} +- {found['error']:.1e}"
            f"  exact {row['reference']['energy']:.6f}  relative error {row['relative_error']:.1e}"
            f"  ({row['steps']} steps, {row['samples']} samples, {row['seconds']:.0f} s)"
        )
    conclude(results["checks"], out)


ZERO_SHOT_EPILOG = (
    "Example: `qmcbench zero-shot liang.safetensors --out reports/zero-shot`; run it again to continue."
)


def zero_shot(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `train` or `import-weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its evaluations.")],
    L: Annotated[list[int] | None, typer.Option("--L", help="May be repeated; 6 to 24 if absent.")] = None,
    j2: Annotated[
        list[float] | None,
        typer.Option("--j2", help="May be repeated; 0.44 to 0.6 if absent.", parser=number, metavar="FLOAT"),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="On the lattice it was trained for; others get as many as give the same error.")
    ] = 1024,
    chains: Annotated[int, typer.Option(help="Independent Markov chains.")] = 32,
    warm_up: Annotated[int, typer.Option(help="Sweeps of L * L proposals before the first sample.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the chains.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Discard evaluations that are there.")] = False,
    quiet: Quiet = False,
) -> None:
    """One network on other lattices and couplings without retraining: a report. Exit status 1 if a check fails."""
    from qmcbench.jobs import zero_shot as job

    results = job.zero_shot(
        checkpoint,
        out,
        sizes=L or job.SIZES,
        couplings=j2 or job.COUPLINGS,
        samples=samples,
        chains=chains,
        warm_up=warm_up,
        seed=seed,
        restart=restart,
        quiet=quiet,
        command=typed(),
    )
    for row in results["comparisons"]:
        best = f"  {row['best']['kind']} {row['best']['energy']:.6f}" if row["best"] else ""
        print(f"{row['L']}x{row['L']} J2 = {row['J2']:g}: E/N = {row['energy']:.6f} +- {row['error']:.1e}{best}")
    conclude(results["checks"], out)


def conclude(checks: list[dict[str, Any]], out: Path) -> None:
    """Say how many checks passed and where the report is; exit status 1 if one failed."""
    failed = [check["name"] for check in checks if not check["passed"]]
    print(f"{len(checks) - len(failed)} of {len(checks)} checks passed; report: {out / 'index.html'}")
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)
