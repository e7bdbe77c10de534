"""``qmcbench reproduce``, ``transfer`` and ``zero-shot``: whole lists of runs, with their report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qmcbench.cli.common import CHECKPOINT_HELP, Json, Quiet, number, typed
from qmcbench.cli.report import conclude, verdicts

COLUMNS = ("run", "E/N", "reference E/N", "relative error", "steps", "training s")
"""Of the table that is printed."""

REPRODUCE_EPILOG = (
    "Examples: `qmcbench reproduce --profile quick --out reports/quick`; the same command again continues a stopped "
    "one and keeps what is finished."
)


def reproduce(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report, its records and its runs.")],
    profile: Annotated[
        str,
        typer.Option(
            help="quick (4 minutes on 2 cores), cpu (9 minutes), paper-cpu (3 hours: what two cores measure for the "
            "book), leaderboard (3 hours: the protocol of the Quantum Many-Body Leaderboard), or a TOML file like "
            "theirs."
        ),
    ] = "quick",
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of every run.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch; all cores if absent.")] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Discard runs, evaluations and checks that are there.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The main job: exact energies, training, checks and timings in one report.

    Exit status 1 if a check fails or is inconclusive.
    """
    from qmcbench.jobs import campaign, plan
    from qmcbench.jobs import reproduce as job
    from qmcbench.jobs.stages import Request
    from qmcbench.report.reproduction import pages

    if (parts := campaign.load(profile)) is not None:
        if seed is not None or threads is not None or restart:
            raise typer.BadParameter(
                f"--seed, --threads and --restart are for profiles of runs; {profile} is one of commands: its file "
                "has their options, and another folder begins anew"
            )
        conclude(campaign.run(parts, out, quiet=quiet), out, () if as_json else None)
        return
    wanted = Request(
        profile=plan.load_profile(profile, seed, threads), out=out, restart=restart, quiet=quiet, command=typed()
    )
    run = job.reproduce(wanted)
    if not as_json:
        print(pages.energies(run).only(*COLUMNS).text())
    verdicts([(pages.title(run), pages.judgement(run))], out, [run] if as_json else None)


TRANSFER_EPILOG = (
    "Examples: `qmcbench transfer quick --out runs/transfer`; `qmcbench transfer cpu --hours 3 --out runs/transfer`; "
    "`mpiexec -n 4 qmcbench transfer PLAN.toml --out runs/transfer`. The same command again goes on."
)


def transfer(
    plan: Annotated[
        str,
        typer.Argument(
            help="quick (minutes), 6x6 (12 minutes to its first result), 6x6-hour, sizes, direct, 10x10, 24x24, "
            "cpu or leaderboard (hours), paper, stage1, stage2 or stage3 (a cluster), or a TOML file."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report, its records and its runs.")],
    hours: Annotated[
        float | None, typer.Option(help="That it may take in all, evaluations included, shared out among the stages.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of every stage.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch; all cores if absent.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Discard what is there.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Transfer learning: a network trained on one lattice or coupling after another, from parameters of the last.

    Every stage that is reached leaves a checkpoint and an evaluated energy. Exit status 1 if a check fails or is
    inconclusive.
    """
    from qmcbench.jobs import transfer as job
    from qmcbench.jobs.plan import load_profile
    from qmcbench.jobs.stages import Request
    from qmcbench.ranks.comm import world
    from qmcbench.report.reproduction import pages

    comm = world()
    wanted = Request(
        profile=load_profile(plan, seed, threads, "transfer"),
        out=out,
        restart=restart,
        quiet=quiet,
        command=typed(),
        comm=comm,
    )
    run = job.transfer(wanted, hours)
    if comm.rank:
        return
    if not as_json:
        print(pages.energies(run).only(*COLUMNS).text())
    verdicts([(pages.title(run), pages.judgement(run))], out, [run] if as_json else None)


ZERO_SHOT_EPILOG = (
    "Example: `qmcbench zero-shot liang.safetensors --out reports/zero-shot`; run it again to continue."
)


def zero_shot(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report, its records and evaluations.")],
    L: Annotated[list[int] | None, typer.Option("--L", help="May be repeated; 6 to 24 if absent.")] = None,
    j2: Annotated[
        list[float] | None,
        typer.Option("--j2", help="May be repeated; 0.44 to 0.6 if absent.", parser=number, metavar="FLOAT"),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="On the lattice it was trained for; others get as many as give the same error.")
    ] = 1024,
    chains: Annotated[int, typer.Option(help="Independent Markov chains.")] = 32,
    warm_up: Annotated[int, typer.Option(help="Sweeps of L * L proposals before the first sample.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the chains.")] = 0,
    restart: Annotated[bool, typer.Option("--restart", help="Discard evaluations that are there.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """One network on other lattices and couplings without retraining: a report.

    Exit status 1 if a check fails or is inconclusive.
    """
    from qmcbench.jobs import zero_shot as job
    from qmcbench.report.zero_shot import pages

    wanted = job.Request(
        checkpoint=checkpoint,
        out=out,
        sizes=tuple(L or job.SIZES),
        couplings=tuple(j2 or job.COUPLINGS),
        samples=samples,
        chains=chains,
        warm_up=warm_up,
        seed=seed,
        restart=restart,
        quiet=quiet,
        command=typed(),
    )
    run = job.zero_shot(wanted)
    if not as_json:
        print(pages.comparison(run).only("L", "J2", "E/N", "best reference", "kind", "relative difference").text())
    verdicts([(pages.title(run), pages.judgement(run))], out, [run] if as_json else None)
