"""``qmcbench ...``: the command line."""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from qmcbench import __version__, reference
from qmcbench.cli import bench as cli_bench
from qmcbench.cli import reference as cli_reference
from qmcbench.cli import scale as cli_scale
from qmcbench.errors import UserError
from qmcbench.jobs import doctor
from qmcbench.progress import Bar

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


app.add_typer(cli_reference.app, name="reference")
app.add_typer(cli_scale.app, name="scale")
app.command("bench", epilog=cli_bench.EPILOG)(cli_bench.command)
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


@app.command(
    epilog="Examples: `qmcbench train run.toml --out runs/a`; the same command again continues a stopped run. "
    "`mpiexec -n 4 qmcbench train run.toml --out runs/a` shares its chains among 4 ranks. "
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
    from qmcbench.ranks import comm

    ranks = comm.world()
    settings = comm.on_root(ranks, lambda: configuration.load(config))
    trainer = training.train(settings, out, restart=restart, quiet=quiet, command=_command(), comm=ranks)
    if ranks.rank != 0:
        return
    lines = training.read_log(out / training.LOG)
    if lines:
        last = lines[-1]
        print(f"step {trainer.step}: E/N = {last['energy']:.6f} +- {last['error']:.1e} (one step's samples)")
    print(f"checkpoint: {out / training.CHECKPOINT}")


@app.command(
    epilog="Example: `qmcbench evaluate a/checkpoint.safetensors --samples 4096 --j2 0.5 --j2 0.6 --out a-eval`; "
    "the same command again continues a stopped evaluation, more samples extend it."
)
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `train` or `import-weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for evaluation.json, its state and plots.")],
    samples: Annotated[int, typer.Option(help="Of all chains together; rounded up to a multiple of --chains.")],
    L: Annotated[int | None, typer.Option("--L", help="Any even size; the checkpoint's if absent.")] = None,
    j2: Annotated[
        list[float] | None,
        typer.Option("--j2", help="May be repeated; the checkpoint's if absent.", parser=_number, metavar="FLOAT"),
    ] = None,
    chains: Annotated[int, typer.Option(help="Independent Markov chains.")] = 64,
    alpha: Annotated[float, typer.Option(help="Chains follow |psi|^alpha and are reweighted to |psi|^2.")] = 2.0,
    warm_up: Annotated[int, typer.Option(help="Sweeps of L * L proposals before the first sample.")] = 20,
    gap: Annotated[int | None, typer.Option(help="Proposals between samples; L * L if absent.")] = None,
    seed: Annotated[int, typer.Option(help="Of the chains.")] = 0,
    observables: Annotated[
        str, typer.Option(help="none, spins (correlations, structure factor) or dimers (these too; twice the time).")
    ] = "none",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Discard an evaluation that is there.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Unbiased energy of a trained network with honest error bars, at any even L and any number of J2."""
    from qmcbench import evaluation
    from qmcbench.config import Sampling
    from qmcbench.files import dumps

    result, _ = evaluation.evaluate(
        checkpoint,
        out,
        L=L,
        J2=j2 or (),
        samples=samples,
        sampling=Sampling(chains=chains, gap=gap, warm_up=warm_up, alpha=alpha),
        seed=seed,
        observables=observables,
        device=device,
        restart=restart,
        quiet=quiet,
        command=_command(),
    )
    if result["observables"]:
        from qmcbench.report.zero_shot.structure_factor import draw_structure_factor

        draw_structure_factor(result["observables"]["structure_factor"]["mean"], out / "structure_factor")
    print(dumps(result, indent=1) if as_json else evaluation.describe(result))


@app.command(
    "zero-shot",
    epilog="Example: `qmcbench zero-shot liang.safetensors --out reports/zero-shot`; run it again to continue.",
)
def zero_shot(
    checkpoint: Annotated[Path, typer.Argument(help="Checkpoint of `train` or `import-weights`.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its evaluations.")],
    L: Annotated[list[int] | None, typer.Option("--L", help="May be repeated; 6 to 24 if absent.")] = None,
    j2: Annotated[
        list[float] | None,
        typer.Option("--j2", help="May be repeated; 0.44 to 0.6 if absent.", parser=_number, metavar="FLOAT"),
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
        command=_command(),
    )
    for row in results["comparisons"]:
        best = f"  {row['best']['kind']} {row['best']['energy']:.6f}" if row["best"] else ""
        print(f"{row['L']}x{row['L']} J2 = {row['J2']:g}: E/N = {row['energy']:.6f} +- {row['error']:.1e}{best}")
    _conclude(results["checks"], out)


@app.command(
    "import-weights",
    epilog="Example: `qmcbench import-weights model_chk --out liang.safetensors`, "
    "then `qmcbench evaluate liang.safetensors --samples 1024 --out runs/liang`",
)
def import_weights(
    file: Annotated[
        Path, typer.Argument(help="The authors' pickle (nothing in it is run) or the same arrays as .npz.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write (.safetensors).")],
    L: Annotated[int | None, typer.Option("--L", help="Size it was trained for; the authors' if absent.")] = None,
    j2: Annotated[
        float | None,
        typer.Option("--j2", help="J2 it was trained for; the authors' if absent.", parser=_number, metavar="FLOAT"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
) -> None:
    """Turn a trained network of the paper's authors into a checkpoint for `evaluate` and transfer learning."""
    from qmcbench import weights

    made = weights.import_weights(file, out, L=L, J2=j2, dtype=dtype, command=_command())
    size = sum(p.numel() for p in made.parameters.values())
    model, wavefunction, origin = made.config["model"], made.config["wavefunction"], made.provenance["imported"]
    print(
        f"network {wavefunction['network']}: {size} parameters, {dtype}, for L = {model['L']}, J2 = {model['J2']:g}"
    )
    if "published_energy" in origin:
        print(f"the authors' network: {origin['citation']}; {origin['source']}; {origin['licence']}")
        print(
            f"published E/N = {origin['published_energy']:.6f} (windowed) for {origin['L']}x{origin['L']}, "
            f"J2 = {origin['J2']:g}"
        )
    print(f"checkpoint: {out}")


@app.command(
    epilog="Examples: `qmcbench ed --L 6 --j2 0.5`; `qmcbench ed --L 4 --j2 0.5 --json`; "
    "`qmcbench ed --L 6 --j2 0.5 --recompute --work ed66`"
)
def ed(
    L: Annotated[int, typer.Option("--L", help="Linear size of the L x L torus.")],
    j2: Annotated[float, typer.Option("--j2", help="J2 in units of J1.", parser=_number, metavar="FLOAT")],
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Diagonalize now instead of asking the store.")
    ] = False,
    work: Annotated[
        Path | None, typer.Option("--work", help="Keep the parts of a 6x6 build there (5 GB), to resume from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Ground state by exact diagonalization (QuSpin): energy, spin correlation, structure factor."""
    if work is not None and not (recompute and L == 6):
        raise typer.BadParameter("--work is for `--L 6 --recompute`: nothing else has parts to keep")
    if recompute and L == 6 and not quiet:
        needed = reference.requirements(L, 1)
        print(
            f"6x6 takes about {needed.seconds / 60:.0f} minutes on 2 cores, {needed.memory / 1e9:.1f} GB of memory"
            + (f" and {needed.disk / 1e9:.1f} GB in {work}." if work else "; --work FOLDER lets it resume."),
            file=sys.stderr,
        )
    with Bar(f"{L}x{L}", 1, quiet=quiet or not recompute or L == 4) as bar:
        found = reference.exact(L, j2, recompute=recompute, folder=work, progress=bar.stage)
    if as_json:
        print(json.dumps(asdict(found), indent=1))
        return
    print(f"{L}x{L}, J2 = {j2:g} J1, spin-1/2 J1-J2 Heisenberg model (S.S units)")
    print(f"energy per site     {found.energy:.12f}")
    print(f"residual            {found.residual:.1e}")
    print(f"gap in the sector   {found.gap:.6f} (total energy; other sectors may have lower states)")
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
    profile: Annotated[str, typer.Option(help="quick (3 minutes on 2 cores) or cpu (9 minutes).")] = "quick",
    seed: Annotated[int | None, typer.Option(help="Replaces the seed of every run.")] = None,
    quiet: Quiet = False,
) -> None:
    """The main job: exact energies, training, checks and timings in one report. Exit status 1 if a check fails."""
    from qmcbench.jobs import reproduce as job

    results = job.reproduce(job.load_profile(profile, seed), out, command=_command(), quiet=quiet)
    for row in results["runs"]:
        found = row["evaluation"]
        print(
            f"{row['name']:<12} E/N = {found['energy']:.6f} +- {found['error']:.1e}"
            f"  exact {row['reference']['energy']:.6f}  relative error {row['relative_error']:.1e}"
            f"  ({row['steps']} steps, {row['samples']} samples, {row['seconds']:.0f} s)"
        )
    _conclude(results["checks"], out)


def _conclude(checks: list[dict[str, Any]], out: Path) -> None:
    """Say how many checks passed and where the report is; exit status 1 if one failed."""
    failed = [check["name"] for check in checks if not check["passed"]]
    print(f"{len(checks) - len(failed)} of {len(checks)} checks passed; report: {out / 'index.html'}")
    if failed:
        print(f"failed: {'; '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


def _command() -> str:
    """The command as it was typed, for the provenance."""
    return shlex.join(["qmcbench", *sys.argv[1:]])


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
    except (UserError, reference.ReferenceLayerError) as error:
        return 2, f"error: {error}"
    except USAGE_ERROR as error:
        return 2, f"error: {error.format_message().rstrip('.')}; see `qmcbench --help`."
    except Interrupted as stop:
        return 130, str(stop)
    except Exception:
        if not many:
            raise
        return 1, traceback.format_exc()


if __name__ == "__main__":
    main()
