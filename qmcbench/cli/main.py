"""``qmcbench ...``: the command line."""

from __future__ import annotations

import sys
import traceback
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import qmcbench
from qmcbench.cli import bench, doctor, export, gate, guide, jobs, networks, reference, report, scale
from qmcbench.cli.streams import open_streams, system_error
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.ranks.launch import launched
from qmcbench.reference.errors import ReferenceLayerError

# What typer raises for a wrong command line: click's class, which some versions of typer carry inside.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
SHARED = ("train", "evaluate", "transfer")
"""Commands that the ranks of a job do together."""
INTERRUPTED = "Interrupted; what had been saved by then is kept."
INTACT = "; the last checkpoint is intact, and the same command continues from it"


class Group(TyperGroup):
    """Commands of which one must be named: alone it shows its help, and a usage error says whose it is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """No arguments ask for help."""
        return super().parse_args(ctx, args or ["--help"])

    def invoke(self, ctx: Any) -> Any:
        """A usage error that a command's own body raises does not know its command."""
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as error:
            if error.ctx is None and not hasattr(error, "command_path"):
                error.command_path = f"{ctx.command_path} {ctx.invoked_subcommand}"
            raise


app = typer.Typer(
    cls=Group,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Variational Monte Carlo with neural quantum states, held against exact diagonalization.",
    epilog="Begin with `qmcbench reproduce --profile quick --out reports/quick`; `qmcbench guide` has pages to read.",
)


def _version(show: bool) -> None:
    if show:
        print(f"qmcbench {qmcbench.__version__}")
        raise typer.Exit


app.command("train", epilog=networks.TRAIN_EPILOG)(networks.train)
app.command("evaluate", epilog=networks.EVALUATE_EPILOG)(networks.evaluate)
app.command("import-weights", epilog=networks.IMPORT_WEIGHTS_EPILOG)(networks.import_weights)
app.command("ed", epilog=reference.ED_EPILOG)(reference.ed)
app.add_typer(reference.app, name="reference", cls=Group)
app.command("zero-shot", epilog=jobs.ZERO_SHOT_EPILOG)(jobs.zero_shot)
app.add_typer(scale.app, name="scale", cls=Group)
app.command("bench", epilog=bench.EPILOG)(bench.command)
app.command("transfer", epilog=jobs.TRANSFER_EPILOG)(jobs.transfer)
app.command("reproduce", epilog=jobs.REPRODUCE_EPILOG)(jobs.reproduce)
app.command("gate", epilog=gate.EPILOG)(gate.command)
app.command("report", epilog=report.EPILOG)(report.command)
app.command("export", epilog=export.EPILOG)(export.command)
app.command("doctor", epilog=doctor.EPILOG)(doctor.command)
app.command("guide", epilog=guide.EPILOG)(guide.command)


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    ranks, name = launched(), context.invoked_subcommand
    if ranks > 1 and name not in SHARED:
        raise UserError(
            f"`qmcbench {name}` is for one process, but {ranks} ranks were started; "
            f"leave mpiexec out (ranks share {', '.join(f'`{each}`' for each in SHARED)})."
        )


def main() -> None:
    """Entry point: a user's mistake is one sentence on standard error and exit status 2, on however many ranks."""
    open_streams()
    if launched() == 1:
        status, message = _run(many=False)
        if message is not None:
            with suppress(OSError):
                print(message, file=sys.stderr, flush=True)
        sys.exit(status)
    from qmcbench.ranks import comm, early, faults  # these load torch

    try:
        job = faults.Job(comm.world(), INTACT)
    except UserError as error:
        early.fail(error)
    job.end(*_run(many=True))


def _run(many: bool) -> tuple[int, str | None]:
    """Exit status of the command line, and what to say of it."""
    try:
        status = app(standalone_mode=False) or 0
        sys.stdout.flush()
        # Some versions of typer make this status of Ctrl-C, others an exception.
        return status, INTERRUPTED if status == 130 else None
    except (KeyboardInterrupt, typer.Abort):
        return 130, INTERRUPTED
    except (UserError, ReferenceLayerError) as error:
        return 2, f"error: {error}"
    except USAGE_ERROR as error:
        about = error.ctx.command_path if error.ctx is not None else getattr(error, "command_path", "qmcbench")
        said = error.format_message().rstrip(".")
        return 2, f"error: {said}{' See' if said.endswith('?') else '; see'} `{about} --help`."
    except Interrupted as stop:
        return 130, str(stop)
    except OSError as error:
        return 2, f"error: {system_error(error)}"
    except Exception:
        if not many:
            raise
        return 1, traceback.format_exc()
