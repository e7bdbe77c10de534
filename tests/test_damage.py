"""Damaged files of every kind that has no such test of its own: one sentence, or numbers that may be believed.

Elsewhere: configurations (600 inputs, test_config), checkpoints (1000, test_checkpoint), published weights (500,
test_weights_hostile), records of any kind (600, store/test_jsonl), of benches (400, report/test_bench_damage) and of
scaling (550, scaling/test_scaling_damage).
"""

import json
import random
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import command, energies
from helpers.damage import JUNK, bytes_changed, lines_changed, value_changed
from matplotlib.figure import Figure

from qmcbench import evaluation_state, training
from qmcbench.ansatz.base import Ansatz
from qmcbench.config import Sampling, load
from qmcbench.errors import UserError
from qmcbench.evaluation_state import FORMAT, resume, write_state
from qmcbench.evaluator import Evaluator
from qmcbench.hamiltonian import J1J2
from qmcbench.jobs.plan import load_profile, plan
from qmcbench.log import LOG, read_log
from qmcbench.reference import ReferenceLayerError
from qmcbench.reference.pieces import Pieces
from qmcbench.report import book
from qmcbench.report.reproduction import figures
from qmcbench.report.zero_shot import pages, structure_factor
from qmcbench.store import jsonl
from qmcbench.store.energies import Energy, Training
from qmcbench.tensors import pack, texts_of, unpack

LOGS, STATES, FLIPS, PLANS, PIECES, RECORDS = 400, 300, 100, 300, 200, 160
"""Damaged files of each kind."""


def refused(number: int, use: Callable[[], object]) -> bool:
    """Whether ``use`` refuses a file in one sentence; anything but that and a success is a failure."""
    try:
        use()
    except (UserError, ReferenceLayerError) as error:
        said = str(error)
    except Exception as error:
        raise AssertionError(f"file {number}: {type(error).__name__}: {error}") from error
    else:
        return False
    assert "\n" not in said, f"file {number}: {said}"
    assert len(said) < 900, f"file {number}: {said}"
    return True


def test_logs(tmp_path: Path) -> None:
    """400 damaged logs: refused, or each line is a step."""
    config = load(command.written(tmp_path, 4))
    training.train(config, tmp_path, quiet=True)
    path, dice, count = tmp_path / LOG, random.Random(1), 0
    whole = path.read_bytes()
    lines = whole.decode().splitlines()
    for number in range(LOGS):
        path.write_bytes(bytes_changed(whole, dice) if number % 3 == 0 else lines_changed(lines, dice))
        count += refused(number, lambda: read_log(path))
        # Whoever goes on from the checkpoint finds every other number.
        if number % 5 == 0:
            refused(number, lambda: training.read_run(tmp_path))
    assert LOGS / 3 < count < LOGS


def uniform(spins: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """psi = 1 without parameters: sampling takes no time."""
    return spins.new_zeros(len(spins), dtype=torch.float64), spins.new_ones(len(spins), dtype=torch.float64)


IDENTITY = {"checkpoint": "0" * 64, "L": 4, "observables": "none"}


def fresh(psi: Ansatz = uniform) -> Evaluator:
    """Six chains that have given nothing."""
    return Evaluator(psi, J1J2(4, 1.0), Sampling(chains=6, warm_up=1, gap=3, alpha=2.0), seed=1)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an evaluation after three rounds."""
    path, evaluator = tmp_path_factory.mktemp("state") / "x", fresh()
    while evaluator.taken < 3:
        evaluator.advance()
    write_state(evaluator, IDENTITY, 1.0, path)
    return path.read_bytes()


def tensor_changed(tensors: dict[str, torch.Tensor], dice: random.Random) -> None:
    """One tensor lost, renamed, of another type or shape, or with a number that is none."""
    name = dice.choice(sorted(tensors))
    tensor = tensors.pop(name)
    kind = dice.randrange(6)
    if kind == 1:
        tensors[name + dice.choice(["x", "/", ""])] = tensor[:0]
    elif kind == 2:
        tensors[name] = tensor.to(dice.choice([torch.float32, torch.int32, torch.bool]))
    elif kind == 3:
        tensors[name] = tensor[..., None]
    elif kind == 4:
        tensors[name] = tensor.clone()
        tensors[name].view(-1)[dice.randrange(tensor.numel())] = dice.choice([0, -1, 7, -7])
    elif kind == 5:
        tensors[name] = torch.cat([tensor, tensor])


def test_states_of_evaluations(state: bytes, tmp_path: Path) -> None:
    """300 crafted states, sealed as if they were whole: refused, or an evaluation goes on from them."""
    dice, path, count, crafted = random.Random(2), tmp_path / evaluation_state.FORMAT, 0, 0
    for number in range(STATES):
        texts, tensors = texts_of(state, "x", ""), unpack(state, "x", "")
        if number % 2:
            tensor_changed(tensors, dice)
        else:
            texts["state"] = json.dumps(value_changed(json.loads(texts["state"]), dice), default=str)
        if number % 20 == 0:
            texts.pop("state")
        path.write_bytes(pack(tensors, {**texts, "format": FORMAT}))
        crafted += 1

        def go_on() -> None:
            evaluator = fresh()
            resume(evaluator, IDENTITY, path)
            evaluator.advance()
            evaluator.samples(0.5).estimate()

        count += refused(number, go_on)
    assert crafted == STATES
    assert STATES * 0.7 < count < STATES


def test_bits_of_states(state: bytes, tmp_path: Path) -> None:
    """100 single flipped bits of the same file: none goes unnoticed."""
    dice, path = random.Random(3), tmp_path / "x"
    for number in range(FLIPS):
        damaged = bytearray(state)
        damaged[dice.randrange(len(state))] ^= 1 << dice.randrange(8)
        path.write_bytes(damaged)
        assert refused(number, lambda: resume(fresh(), IDENTITY, path)), number


def test_plans(tmp_path: Path) -> None:
    """300 damaged plans of `reproduce`: every other one as bytes of its TOML, the rest as values."""
    text = resources.files("qmcbench").joinpath("profiles/reproduce/quick.toml").read_bytes()
    dice, path, count = random.Random(4), tmp_path / "plan.toml", 0
    for number in range(PLANS):
        if number % 2:
            path.write_bytes(bytes_changed(text, dice))
            count += refused(number, lambda: load_profile(str(path)))
        else:
            data = value_changed(tomllib.loads(text.decode()), dice)
            if isinstance(data, dict):
                count += refused(number, lambda data=data: plan(data, "x"))
    assert PLANS / 3 < count < PLANS


def test_pieces_of_exact_diagonalization(tmp_path: Path) -> None:
    """200 damaged pieces: refused, or the arrays are those that were written."""
    arrays = np.arange(60.0).reshape(6, 10), np.arange(7)
    Pieces(tmp_path).save("x", arrays)
    path, dice, count = tmp_path / "x.npz", random.Random(5), 0
    whole = path.read_bytes()
    for number in range(PIECES):
        path.write_bytes(bytes_changed(whole, dice))

        def read() -> None:
            found = Pieces(tmp_path).load("x")
            assert found is not None
            assert all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))

        count += refused(number, read)
    assert count > PIECES / 2


@pytest.fixture
def _sketched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Most of a figure's time is its SVG, which every eighth is made of."""
    drawn, real = 0, figures.render

    def draw(name: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
        nonlocal drawn
        drawn += 1
        if drawn % 8 == 0:
            return real(name, size, draw)
        draw(Figure(figsize=size))
        return "<svg></svg>"

    for module in (figures, pages, structure_factor):
        monkeypatch.setattr(module, "render", draw)
    yield
    assert drawn > 100


@pytest.mark.usefixtures("_sketched")
def test_records_of_wave_functions(tmp_path: Path) -> None:
    """160 damaged files of `reproduce` and `zero-shot`: refused, or a report with all its figures."""
    dice, count = random.Random(6), 0
    for run in (energies.reproduction(), energies.zero_shot()):
        lines = jsonl.save(tmp_path, "x", run).read_text().splitlines()
        for number in range(RECORDS // 2):
            path = jsonl.path_of(tmp_path, "x")
            path.write_bytes(lines_changed(lines, dice))
            count += refused(number, lambda path=path: book.chapters([jsonl.read(path)]))
    assert RECORDS / 4 < count < RECORDS


ABSURD = {"1e30": 1e30, "-1e300": -1e300, "10**30": 10**30, "10**400": 10**400}


@pytest.mark.parametrize("value", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("place", [(Energy, "value"), (Energy, "L"), (Training, "curve")], ids=lambda each: each[1])
def test_numbers_that_no_figure_can_show(place: tuple[type[Any], str], value: float, tmp_path: Path) -> None:
    """Refused with the file, the line and the number, wherever it stands."""
    assert value not in JUNK[:3]
    run = energies.reproduction()
    path = jsonl.save(tmp_path, "x", run)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    kind, name = place
    line = next(line for line in lines if line.get("kind") == kind.kind)
    if name == "curve":
        line["curve"]["energy"][3] = value
    else:
        line[name] = value
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    number = lines.index(line) + 1
    with pytest.raises(UserError, match=rf"x\.jsonl, line {number}: the number -?1.* is beyond 1e\+19"):
        book.report([tmp_path], tmp_path)
    assert not (tmp_path / "report.md").exists()
