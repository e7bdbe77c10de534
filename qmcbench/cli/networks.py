"""``qmcbench train``, ``evaluate`` and ``import-weights``: one network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from qmcbench.cli.common import CHECKPOINT_HELP, Json, Quiet, number, print_json, typed
from qmcbench.errors import UserError
from qmcbench.ranks import launch

TRAIN_EPILOG = (
    "Examples: `qmcbench train run.toml --out runs/a`; the same command again continues a stopped run. "
    "`mpiexec -n 4 qmcbench train run.toml --out runs/a` shares its chains among 4 ranks. "
    "A minimal run.toml: `[model]`, `L = 4`, `J2 = 0.5`."
)


def train(
    config: Annotated[Path, typer.Argument(help="TOML file; `qmcbench guide train` lists its keys.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for log.jsonl and checkpoint.safetensors.")],
    restart: Annotated[bool, typer.Option("--restart", help="Discard a checkpoint that is there.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train a wave function; resume exactly if the folder holds a checkpoint of the same run."""
    from qmcbench import training
    from qmcbench.ranks import comm

    ranks = comm.world()
    settings = comm.on_root(ranks, lambda: training.load(config, out, restart=restart))
    trainer = training.train(settings, out, restart=restart, quiet=quiet, command=typed(), comm=ranks)
    if ranks.rank != 0:
        return
    # No energy: the last one in the log is of the parameters before the last update.
    path = out / training.CHECKPOINT
    if as_json:
        _print_trained(path, settings.optimizer.steps)
        return
    print(f"{trainer.step} of {settings.optimizer.steps} steps done; checkpoint: {path}")
    print(f"its energy: {shlex.join(['qmcbench', 'evaluate', str(path), '--samples', '16384', '--out', str(out)])}")


def _print_trained(path: Path, asked: int) -> None:
    """What a run has come to, as JSON; its energy by name is that of the log's last line."""
    from dataclasses import asdict

    from qmcbench import training

    steps = training.read_log(path.with_name(training.LOG))
    last = {"last_step": asdict(steps[-1])} if steps else {}
    print_json({"checkpoint": str(path), "steps": len(steps), "asked": asked, **last})


EVALUATE_EPILOG = (
    "Example: `qmcbench evaluate a/checkpoint.safetensors --samples 4096 --j2 0.5 --j2 0.6 --out a-eval`; "
    "the same command again continues a stopped evaluation, more samples extend it; with `--sigma 5e-5` it ends "
    "before them, once the error is that small. "
    "`mpiexec -n 4 qmcbench evaluate ...` shares its chains among 4 ranks. "
    "`qmcbench evaluate a/checkpoint.safetensors --exact` sums over all configurations of 4x4 or 6x6, and leaves a "
    "record with --out."
)


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help=CHECKPOINT_HELP)],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the state, the records and plots.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            help="Of all chains together, rounded up to a multiple of --chains; with --sigma at most so many."
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(help="Standard error of each E/N at which sampling ends.", parser=number, metavar="FLOAT"),
    ] = None,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Full sum (4x4, 6x6); without symmetries, the infidelity by samples."),
    ] = False,
    L: Annotated[int | None, typer.Option("--L", help="Any even size; the checkpoint's if absent.")] = None,
    j2: Annotated[
        list[float] | None,
        typer.Option("--j2", help="May be repeated; the checkpoint's if absent.", parser=number, metavar="FLOAT"),
    ] = None,
    symmetry: Annotated[
        str | None, typer.Option(help="Sum over its images: C4, C4v, full ...; what it was trained with if absent.")
    ] = None,
    chains: Annotated[int, typer.Option(help="Independent Markov chains.")] = 64,
    alpha: Annotated[float, typer.Option(help="Chains follow |psi|^alpha and are reweighted to |psi|^2.")] = 2.0,
    warm_up: Annotated[
        int | None,
        typer.Option(help="Sweeps of L * L proposals before the first sample; if absent, the larger of 20 and 2 L."),
    ] = None,
    gap: Annotated[int | None, typer.Option(help="Proposals between samples; L * L if absent.")] = None,
    seed: Annotated[int, typer.Option(help="Of the chains.")] = 0,
    observables: Annotated[
        str, typer.Option(help="none, spins (correlations, structure factor) or dimers (these too; twice the time).")
    ] = "none",
    lanczos: Annotated[
        bool,
        typer.Option("--lanczos", help="Also the energy after one Lanczos step; L * L times as long as an energy."),
    ] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    restart: Annotated[bool, typer.Option("--restart", help="Discard an evaluation that is there.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Energy of a trained network with honest error bars, at any even L and any number of J2.

    Each energy is called unbiased, or it is said why it is not to be trusted. With --exact there are no error bars.
    """
    if exact:
        from qmcbench.cli.exact import print_exact

        if lanczos:
            raise typer.BadParameter("--exact has the energy after one Lanczos step by itself: leave --lanczos out")
        if launch.launched() > 1:
            raise UserError("A full sum is for one process; leave mpiexec out, or --exact.")
        if sigma is not None:
            raise typer.BadParameter("--exact has no error: leave --sigma out")
        if len(j2 or ()) > 1:
            raise typer.BadParameter("--exact takes one --j2 at a time")
        print_exact(checkpoint, L, j2[0] if j2 else None, symmetry, out=out, quiet=quiet, as_json=as_json)
        return
    for name, value in (("--out", out), ("--samples", samples)):
        if value is None:
            raise typer.BadParameter(f"{name} is missing: give it, or --exact for a full sum without samples")
    assert out is not None
    assert samples is not None
    from qmcbench import evaluation, training
    from qmcbench.config import Run, Sampling
    from qmcbench.ranks import comm
    from qmcbench.report.zero_shot.terminal import describe
    from qmcbench.store import jsonl

    ranks = comm.world()
    if warm_up is None:
        trained = L or comm.on_root(ranks, lambda: training.load_ansatz(checkpoint)[1].model.L)
        warm_up = evaluation.warm_up_of(trained)
    wanted = evaluation.Request(
        checkpoint=checkpoint,
        out=out,
        L=L,
        J2=tuple(j2 or ()),
        symmetry=symmetry,
        samples=samples,
        sigma=sigma,
        sampling=Sampling(chains=chains, gap=gap, warm_up=warm_up, alpha=alpha),
        seed=seed,
        observables=observables,
        lanczos=lanczos,
        device=device,
        restart=restart,
        quiet=quiet,
        command=typed(),
    )
    with training.torch_threads(Run(device=device), ranks):
        run = evaluation.evaluate(wanted, ranks)
    if ranks.rank != 0:
        return
    if observables != "none":
        from qmcbench.report.zero_shot.pages import draw_map

        draw_map(run, out / "structure_factor")
    if as_json:
        print_json(jsonl.as_object(run))
    else:
        print(describe(run))


IMPORT_WEIGHTS_EPILOG = (
    "Example: `qmcbench import-weights model_chk --out liang.safetensors`, "
    "then `qmcbench evaluate liang.safetensors --samples 1024 --out runs/liang`"
)


def import_weights(
    file: Annotated[
        Path, typer.Argument(help="The authors' pickle (nothing in it is run) or the same arrays as .npz.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint to write (.safetensors).")],
    L: Annotated[int | None, typer.Option("--L", help="Size it was trained for; the authors' if absent.")] = None,
    j2: Annotated[
        float | None,
        typer.Option("--j2", help="J2 it was trained for; the authors' if absent.", parser=number, metavar="FLOAT"),
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    as_json: Json = False,
) -> None:
    """Turn a trained network of the paper's authors into a checkpoint for `evaluate` and transfer learning."""
    from qmcbench import weights

    made = weights.import_weights(file, out, L=L, J2=j2, dtype=dtype, command=typed())
    size = sum(p.numel() for p in made.parameters.values())
    model, origin = made.config.model, made.imported
    network = made.config.wavefunction.network
    if as_json:
        from qmcbench.structure import unstructure

        known = {"network": network, "parameters": size, "dtype": dtype, "L": model.L, "J2": model.J2}
        print_json({"checkpoint": str(out), **known, "imported": unstructure(origin)})
        return
    print(f"network {network}: {size} parameters, {dtype}, for L = {model.L}, J2 = {model.J2:g}")
    if origin is not None and origin.published_energy is not None:
        print(f"the authors' network: {origin.citation}; {origin.source}; {origin.licence}")
        print(
            f"published E/N = {origin.published_energy:.6f} (windowed) for {origin.L}x{origin.L}, J2 = {origin.J2:g}"
        )
    print(f"checkpoint: {out}")
