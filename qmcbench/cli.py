"""``qmcbench ...``: the command line."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from qmcbench import __version__, reference
from qmcbench.errors import UserError

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Variational Monte Carlo with neural quantum states, held against exact diagonalization.",
    epilog="Begin with `qmcbench reproduce --profile quick --out reports/quick` (10 minutes on 2 cores).",
)

# What typer raises for a wrong command line: click's class, which some versions of typer carry inside.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a number") from None


def _version(show: bool) -> None:
    if show:
        print(f"qmcbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


@app.command(
    epilog="Examples: `qmcbench train run.toml --out runs/a`; the same command again continues a stopped run. "
    "A minimal run.toml: `[model]`, `L = 4`, `J2 = 0.5`."
)
def train(
    config: Annotated[Path, typer.Argument(help="TOML file; README.md lists its keys.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for log.jsonl and checkpoint.safetensors.")],
    restart: Annotated[bool, typer.Option("--restart", help="Discard a checkpoint that is there.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a wave function; resume exactly if the folder holds a checkpoint of the same run."""
    from qmcbench import config as configuration
    from qmcbench import training

    trainer = training.train(configuration.load(config), out, restart=restart, quiet=quiet, command=_command())
    lines = training.read_log(out / training.LOG)
    if lines:
        last = lines[-1]
        print(f"step {trainer.step}: E/N = {last['energy']:.6f} +- {last['error']:.1e} (one step's samples)")
    print(f"checkpoint: {out / training.CHECKPOINT}")


@app.command(epilog="Example: `qmcbench ed --L 4 --j2 0.5 --json`")
def ed(
    L: Annotated[int, typer.Option("--L", help="Linear size of the L x L torus.")],
    j2: Annotated[float, typer.Option("--j2", help="J2 in units of J1.", parser=_number, metavar="FLOAT")],
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Diagonalize now instead of asking the store.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Ground state by exact diagonalization (QuSpin): energy, spin correlation, structure factor."""
    found = reference.exact(L, j2, recompute=recompute)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    print(f"{L}x{L}, J2 = {j2:g} J1, spin-1/2 J1-J2 Heisenberg model (S.S units)")
    print(f"energy per site     {found.energy:.12f}")
    print(f"residual            {found.residual:.1e}")
    print(f"sector              {found.sector} ({found.states} states)")
    print(f"S(pi,pi)            {found.structure_factor_pi_pi:.10f}")
    print(f"S(pi,0)             {found.structure_factor_pi_0:.10f}")
    for displacement, value in found.spin_correlation.items():
        print(f"<S_0.S_d> d=({displacement})  {value: .10f}")
    made = found.provenance
    print(f"made by             {made['command']} on {made['date']} with QuSpin {made['versions']['quspin']}")


@app.command(epilog="Example: `qmcbench reproduce --profile quick --out reports/quick`")
def reproduce(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its runs.")],
    profile: Annotated[str, typer.Option(help="quick (10 minutes on 2 cores) or cpu (25 minutes).")] = "quick",
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of every run.")] = None,
    quiet: Quiet = False,
) -> None:
    """The main job: exact energies, training, checks and timings in one report. Exit status 1 if a check fails."""
    from qmcbench import reproduce as job

    results = job.reproduce(job.load_profile(profile, seed), out, command=_command(), quiet=quiet)
    failed = [check["name"] for check in results["checks"] if not check["passed"]]
    for row in results["runs"]:
        found = row["evaluation"]
        print(
            f"{row['name']:<12} E/N = {found['energy']:.6f} +- {found['error']:.1e}"
            f"  exact {row['reference']['energy']:.6f}  relative error {row['relative_error']:.1e}"
            f"  ({row['steps']} steps, {row['samples']} samples, {row['seconds']:.0f} s)"
        )
    total = len(results["checks"])
    print(f"{total - len(failed)} of {total} checks passed; report: {out / 'index.html'}")
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


def _command() -> str:
    """The command as it was typed, for the provenance."""
    return shlex.join(["qmcbench", *sys.argv[1:]])


def main() -> None:
    """Entry point: a user's mistake is one sentence on standard error and exit status 2."""
    from qmcbench.training import Interrupted

    try:
        status = app(standalone_mode=False) or 0
    except (UserError, reference.ReferenceLayerError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except USAGE_ERROR as error:
        print(f"error: {error.format_message().rstrip('.')}; see `qmcbench --help`.", file=sys.stderr)
        status = 2
    except Interrupted as stop:
        print(str(stop), file=sys.stderr)
        status = 130
    sys.exit(status)


if __name__ == "__main__":
    main()
