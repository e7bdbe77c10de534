"""``qmcbench ...``: the command line."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated, Any

import typer

from qmcbench import __version__
from qmcbench.cli import bench, jobs, networks, reference, report, scale
from qmcbench.errors import UserError
from qmcbench.jobs import doctor
from qmcbench.reference.errors import ReferenceLayerError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Variational Monte Carlo with neural quantum states, held against exact diagonalization.",
    epilog="Begin with `qmcbench reproduce --profile quick --out reports/quick`.",
)

# What typer raises for a wrong command line: click's class, which some versions of typer carry inside.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]


def _version(show: bool) -> None:
    if show:
        print(f"qmcbench {__version__}")
        raise typer.Exit


app.command("train", epilog=networks.TRAIN_EPILOG)(networks.train)
app.command("evaluate", epilog=networks.EVALUATE_EPILOG)(networks.evaluate)
app.command("import-weights", epilog=networks.IMPORT_WEIGHTS_EPILOG)(networks.import_weights)
app.command("ed", epilog=reference.ED_EPILOG)(reference.ed)
app.add_typer(reference.app, name="reference")
app.command("zero-shot", epilog=jobs.ZERO_SHOT_EPILOG)(jobs.zero_shot)
app.add_typer(scale.app, name="scale")
app.command("bench", epilog=bench.EPILOG)(bench.command)
app.command("reproduce", epilog=jobs.REPRODUCE_EPILOG)(jobs.reproduce)
app.command("report", epilog=report.EPILOG)(report.command)
app.command("doctor", epilog="Example: `qmcbench doctor`")(doctor.command)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    from qmcbench.ranks import comm

    ranks = comm.world().size
    if ranks > 1 and context.invoked_subcommand != "train":
        raise UserError(
            f"`qmcbench {context.invoked_subcommand}` is for one process, but {ranks} ranks were started; "
            "leave mpiexec out (`train` is what ranks share)."
        )


def main() -> None:
    """Entry point: a user's mistake is one sentence on standard error and exit status 2, on however many ranks."""
    from qmcbench.ranks import comm, faults

    try:
        job = faults.Job(comm.world(), "; the last checkpoint is intact, and the same command continues from it")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    job.end(*_run(many=job.comm.size > 1))


def _run(many: bool) -> tuple[int, str | None]:
    """Exit status of the command line, and what to say of it."""
    from qmcbench.files import Interrupted

    try:
        return app(standalone_mode=False) or 0, None
    except KeyboardInterrupt:
        return 130, "Interrupted; what had been saved by then is kept."
    except (UserError, ReferenceLayerError) as error:
        return 2, f"error: {error}"
    except USAGE_ERROR as error:
        return 2, f"error: {error.format_message().rstrip('.')}; see `qmcbench --help`."
    except Interrupted as stop:
        return 130, str(stop)
    except Exception:
        if not many:
            raise
        return 1, traceback.format_exc()
