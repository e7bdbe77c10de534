"""The commands `import-weights` and `evaluate`."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import plain
import pytest
import safetensors
import torch
from helpers import energies
from helpers.command import called
from helpers.energies import timeless
from test_cli import refused
from typer.testing import CliRunner

from qmcbench import checkpoint, provenance
from qmcbench.cli.main import app
from qmcbench.config import Config, Model, Wavefunction, parse
from qmcbench.evaluation import RECORDS, STATE, warm_up_of
from qmcbench.gates.energies import doubts
from qmcbench.reference import hamiltonian_matrix
from qmcbench.store import jsonl
from qmcbench.store.energies import Correlations, Energy
from qmcbench.vmc import build_ansatz


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of the paper, imported by the command line."""
    folder = tmp_path_factory.mktemp("network")
    np.savez(folder / "w.npz", **{n: p.detach().numpy() for n, p in plain.lively("small").named_parameters()})
    out = folder / "network.safetensors"
    result = called("import-weights", folder / "w.npz", "--out", out, "--L", 4, "--j2", 0.4, "--dtype", "float64")
    assert result.returncode == 0, result.stderr
    assert "network small: 3531 parameters, float64, for L = 4, J2 = 0.4" in result.stdout
    return out


# Threads that wait for each other make these small networks slow where other processes run too.
ALONE = {**os.environ, "OMP_NUM_THREADS": "1"}


def test_mistakes_are_one_sentence_each(network: Path, tmp_path: Path) -> None:
    """Exit status 2, the value and what to do, and nothing is written."""
    (tmp_path / "foreign").write_bytes(
        network.read_bytes().replace(b"qmcbench-checkpoint-2", b"somebodys-checkpoints")
    )
    (tmp_path / "file").write_text("")
    good = ["evaluate", network, "--samples", 8, "--chains", 4, "--out", tmp_path / "out"]
    mistakes: list[tuple[list[object], tuple[str, ...]]] = [
        ([*good, "--samples", 0], ("samples = 0", "1")),
        ([*good, "--samples", 10**400], ("samples = 1000", "2^63")),
        ([*good, "--chains", 10**400], ("chains", "too large")),
        ([*good, "--j2", 1e300], ("model.J2", "[-1000, 1000]")),
        ([*good, "--L", 5], ("L = 5 is odd", "6")),
        ([*good, "--L", 40], ("L = 40", "36")),
        ([*good, "--j2", "nan"], ("J2 = nan", "finite")),
        ([*good, "--j2", 0.5, "--j2", "inf"], ("J2 = inf", "finite")),
        ([*good, "--j2", "half"], ("--j2", "'half'")),
        ([*good, "--chains", 1], ("chains = 1", "[2,")),
        ([*good, "--alpha", 3], ("alpha = 3", "[0, 2]")),
        ([*good, "--gap", 0], ("gap = 0", "[1,")),
        ([*good, "--seed", -1], ("seed = -1", "[0,")),
        ([*good, "--sigma", 0], ("sigma = 0", "above 0")),
        ([*good, "--sigma", "nan"], ("sigma = nan", "above 0")),
        (["evaluate", network, "--exact", "--sigma", 1e-4], ("--exact", "leave --sigma out")),
        ([*good, "--device", "tpu"], ("'tpu'", "cpu")),
        ([*good, "--lanczos", "--L", 36, "--samples", 10**6], ("4.2e+12 for 1000000 samples", "at most 23815")),
        (["evaluate", network, "--exact", "--lanczos"], ("--exact", "leave --lanczos out")),
        (["evaluate", tmp_path / "no.safetensors", *good[2:]], ("no.safetensors", "no checkpoint")),
        (["evaluate", tmp_path / "foreign", *good[2:]], ("somebodys-checkpoints", "qmcbench-checkpoint-2")),
        ([*good[:-1], tmp_path / "file" / "out"], ("Cannot write", "--out")),
        (["import-weights", tmp_path / "no.npz", "--out", tmp_path / "x"], ("no.npz", "No such file")),
        (["import-weights", tmp_path / "file", "--out", tmp_path / "x"], ("neither an .npz nor",)),
        (["import-weights", network.parent / "w.npz", "--out", network], ("exists already", "--out")),
        (["import-weights", network.parent / "w.npz", "--out", tmp_path / "file" / "x"], ("Cannot write", "--out")),
        (["import-weights", network.parent / "w.npz", "--out", tmp_path / "x", "--L", 7], ("L = 7 is odd",)),
        (
            ["import-weights", network.parent / "w.npz", "--out", tmp_path / "x", "--dtype", "int8"],
            ("'int8'", "float32"),
        ),
    ]
    for line, words in mistakes:
        refused(called(*line), *words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "foreign"]


def test_text_and_json(network: Path, tmp_path: Path) -> None:
    """People get energies with errors, labels and the reference; --json prints what is in the file."""
    command = ["evaluate", network, "--samples", 250, "--chains", 8, "--gap", 40, "--j2", 0.5, "--j2", 0]
    command += ["--warm-up", 60, "--out", tmp_path]
    people, printed = called(*command), called(*command, "--json", "--quiet")
    assert people.returncode == 0, people.stderr
    for words in ("4x4", "256 samples: 8 chains x 32", "rounded up", "correlated", "J2 = 0.5", "-0.528620"):
        assert words in people.stdout
    assert people.stdout.count("(unbiased)") + people.stdout.count("(NOT TO BE TRUSTED: ") == 2
    assert "evaluation: 256/256 E/N" in people.stderr
    assert printed.stderr == ""
    head, *rest = map(json.loads, jsonl.path_of(tmp_path, RECORDS).read_text().splitlines())
    assert json.loads(printed.stdout) == {**head, "records": rest}
    assert "--json" in head["provenance"]["command"]
    assert [row["kind"] for row in rest] == ["energy", "energy"]


def test_warm_up_grows_with_the_lattice(network: Path, tmp_path: Path) -> None:
    """20 sweeps, or 2 L: at least what the label asks for on every lattice."""
    line = ["evaluate", network, "--samples", 4, "--chains", 2, "--gap", 1, "--quiet", "--out"]
    small, large = called(*line, tmp_path / "4"), called(*line, tmp_path / "12", "--L", 12)
    assert small.returncode == large.returncode == 0
    found = [jsonl.load(tmp_path / name, RECORDS).of(Energy)[0] for name in ("4", "12")]
    assert [each.warm_up for each in found] == [20, 24]
    assert not any("warm-up" in doubt for L in range(4, 37, 2) for doubt in doubts(of_size(L)))


def of_size(L: int) -> Energy:
    """A sound energy with the default warm-up of its lattice."""
    return replace(energies.ENERGY, L=L, gap=L * L, warm_up=warm_up_of(L), tau=1.6)


def test_frozen_chains_are_not_called_unbiased(tmp_path: Path) -> None:
    """A network whose weights are twenty times too large: its chains hardly move, on any processor."""
    parameters = {
        name: 20 * value if value.ndim > 1 else value for name, value in plain.lively("small").state_dict().items()
    }
    config = parse({"model": {"L": 4, "J2": 0.5}, "wavefunction": {"dtype": "float64"}})
    network = tmp_path / "frozen.safetensors"
    checkpoint.write(network, checkpoint.Checkpoint(parameters, config, energies.MADE))
    found = called("evaluate", network, "--samples", 2048, "--quiet", "--out", tmp_path / "run")
    assert found.returncode == 0
    (energy,) = jsonl.load(tmp_path / "run", RECORDS).of(Energy)
    assert energy.r_hat > 1.05
    assert "(unbiased)" not in found.stdout
    assert "NOT TO BE TRUSTED: " in found.stdout
    assert "R-hat" in found.stdout[found.stdout.index("NOT TO BE TRUSTED") :].splitlines()[0]


def rounds(out: Path) -> int:
    """Samples a chain in the stored state."""
    with safetensors.safe_open(out / STATE, framework="np") as file:
        return len(file.get_tensor("rounds/log_psi")) if "rounds/log_psi" in file.keys() else 0  # noqa: SIM118


def test_killed_evaluation_continues_to_the_same_bits(network: Path, tmp_path: Path) -> None:
    """SIGKILL at an arbitrary moment, then the same command: the state file is that of an undisturbed evaluation."""
    command = ["evaluate", network, "--samples", 160, "--chains", 2, "--gap", 2]
    command += ["--warm-up", 2, "--quiet", "--out"]
    arguments = [*map(str, command), str(tmp_path / "killed")]
    # Slowed down, so that the signal comes in time on a busy machine too.
    code = (
        "import time; from qmcbench import evaluation; from qmcbench.cli.main import main; "
        "evaluation.SAVE_EVERY = 0; w = evaluation.write_state; "
        "evaluation.write_state = lambda *a: (w(*a), time.sleep(0.03)); main()"
    )
    with subprocess.Popen([sys.executable, "-P", "-c", code, *arguments], env=ALONE) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if (tmp_path / "killed" / STATE).exists() and rounds(tmp_path / "killed") >= 3:
                break
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert 0 < rounds(tmp_path / "killed") < 80, "the signal came too late to test anything"
    contents = []
    names = "killed", "whole"
    assert [called(*command, tmp_path / name).returncode for name in names] == [0, 0]
    for name in names:
        with safetensors.safe_open(tmp_path / name / STATE, framework="np") as file:
            contents.append({key: file.get_tensor(key).tobytes() for key in file.keys()})  # noqa: SIM118
    assert contents[0] == contents[1]
    killed, whole = (timeless(jsonl.load(tmp_path / name, RECORDS)) for name in names)
    assert killed == whole


def test_observables_are_printed_and_drawn(network: Path, tmp_path: Path) -> None:
    """`--observables spins` adds the structure factor to the text, the JSON and a plot; nonsense is refused."""
    command = ["evaluate", network, "--samples", 16, "--chains", 4, "--quiet", "--out", tmp_path / "out"]
    found, nonsense = (called(*command, "--observables", name) for name in ("spins", "charge"))
    assert found.returncode == 0
    assert "S(pi,pi) = " in found.stdout
    measured = {each.quantity: each for each in jsonl.load(tmp_path / "out", RECORDS).of(Correlations)}
    assert measured["structure_factor"].shape == measured["correlation"].shape == (4, 4)
    assert (tmp_path / "out" / "structure_factor.svg").read_text().startswith("<?xml")
    assert (nonsense.returncode, nonsense.stderr.count("\n")) == (2, 1)
    assert "'charge' is not one of none, spins, dimers" in nonsense.stderr


def test_full_sum_instead_of_samples(tmp_path: Path) -> None:
    """--exact needs neither samples nor a folder and gives psi^T H psi / psi^T psi; without it both are asked for."""
    psi = build_ansatz(Wavefunction(symmetry="full", dtype="float64"), seed=1)
    path = tmp_path / "full.safetensors"
    config = Config(Model(4, 0.5), Wavefunction(symmetry="full", dtype="float64"))
    checkpoint.write(path, checkpoint.Checkpoint(dict(psi.state_dict()), config, provenance.collect("test")))
    done = CliRunner().invoke(app, ["evaluate", str(path), "--exact", "--json", "--quiet"])
    assert done.exit_code == 0
    spins, matrix = hamiltonian_matrix(4, 0.5)
    # Each amplitude is a sum over 256 images: one of each set of translations and inversions stands for all.
    images = [sign * np.roll(spins, (a, b), (1, 2)) for sign in (1, -1) for a in range(4) for b in range(4)]
    codes = np.min([(image.reshape(-1, 16) > 0) @ (1 << np.arange(16)) for image in images], axis=0)
    _, first, whose = np.unique(codes, return_index=True, return_inverse=True)
    with torch.no_grad():
        log_psi, sign = psi(torch.from_numpy(spins[first]))
    vector = (sign * (log_psi - log_psi.max()).exp()).numpy()[whose]
    expected = vector @ (matrix @ vector) / (vector @ vector) / 16
    assert json.loads(done.stdout)["energy"] == pytest.approx(expected, abs=1e-10)
    assert CliRunner().invoke(app, ["evaluate", str(path)]).exit_code == 2
