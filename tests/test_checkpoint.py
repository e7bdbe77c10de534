"""Checkpoints: what was written is read back; whatever is wrong with a file is one sentence, never other numbers."""

import contextlib
import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qmcbench import checkpoint, tensors
from qmcbench.checkpoint import FORMAT, FORMAT_1, Checkpoint, State, content_of, decode
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.log import LOG, read_log
from qmcbench.provenance import Machine, Provenance
from qmcbench.sampler import Chains
from qmcbench.training import CHECKPOINT, train
from qmcbench.vmc import build_ansatz

DATA = Path(__file__).parent / "data"
MADE_BY = Provenance(
    "qmcbench train", "2026-01-01T00:00:00+00:00", "3.11", {"torch": None}, Machine("x", 1, 1.0, "y")
)
CONFIG = parse(
    {
        "model": {"L": 4, "J2": 0.5},
        "sampling": {"chains": 6, "warm_up": 1, "alpha": 1.0, "gap": 16},
        "optimizer": {"steps": 3},
        "run": {"threads": 1},
    }
)


def made(**changes: Any) -> Checkpoint:
    """A checkpoint after two steps, with some fields changed."""
    parameters = dict(build_ansatz(CONFIG.wavefunction, 1).state_dict())
    size = sum(p.numel() for p in parameters.values())
    chains = Chains.neel(4, 6)
    sound = Checkpoint(
        parameters=parameters,
        config=CONFIG,
        provenance=MADE_BY,
        state=State(2, 48, 1.0, "0" * 64),
        chains={"spins": chains.spins, "numbers": chains.numbers, "history": torch.zeros(6, 2, dtype=torch.float64)},
        optimizer={"last_solution": torch.zeros(size, dtype=torch.float64)},
        mixing={"pairs": torch.full((6, 2), 32, dtype=torch.int16)},
    )
    return dataclasses.replace(sound, **changes)


def refuse(content: bytes, word: str = "") -> str:
    """The one sentence with which ``content`` is refused."""
    with pytest.raises(UserError) as error:
        decode(content, "x.safetensors")
    message = str(error.value)
    assert message.startswith("x.safetensors")
    assert "\n" not in message
    assert word in message, message
    return message


def read_or_refused(content: bytes) -> None:
    """Anything but a traceback."""
    with contextlib.suppress(UserError):
        decode(content, "x.safetensors")


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    """Whether two checkpoints hold the same, bit for bit."""
    plain = ("config", "provenance", "state", "ranks", "imported")
    groups = [(getattr(a, name) or {}, getattr(b, name) or {}) for name in checkpoint.GROUPS]
    return all(getattr(a, name) == getattr(b, name) for name in plain) and all(
        x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x) for x, y in groups
    )


def test_what_was_written_is_read() -> None:
    """Every field, of a run and of an imported network."""
    network = made(
        state=None, chains=None, optimizer=None, imported=checkpoint.Origin(file="w.npz", sha256="0" * 64, J2=0.5)
    )
    for each in (made(), network):
        assert equal(decode(content_of(each), "x"), each)


def test_no_bit_flip_goes_unnoticed() -> None:
    """400 single flipped bits, a quarter of them in the header: all refused (41 of 204 changed numbers once)."""
    content, draw = content_of(made()), random.Random(1)
    header = 8 + int.from_bytes(content[:8], "little")
    for number in range(400):
        at = draw.randrange(header if number % 4 == 0 else len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << draw.randrange(8)
        refuse(bytes(damaged))


def test_no_cut_file_is_read() -> None:
    """Truncated anywhere, or with something behind its end."""
    content, draw = content_of(made()), random.Random(2)
    for length in (0, 1, 7, 8, 9, 100, *(draw.randrange(len(content)) for _ in range(60))):
        refuse(content[:length])
    refuse(content + b"\0")


def neighbour(spins: Tensor) -> Tensor:
    """The first configuration with one spin turned over."""
    spins = spins.clone()
    spins[0, 0, 0] *= -1
    return spins


SPINS, NUMBERS = made().chains["spins"], made().chains["numbers"]
CRAFTED: dict[str, tuple[dict[str, Any], str]] = {
    "alpha-99": ({"state": State(2, 48, 99.0)}, "alpha = 99"),
    "alpha-of-another-run": ({"state": State(2, 48, 0.5)}, "alpha = 0.5"),
    "negative-proposals": ({"state": State(2, -1, 1.0)}, "proposals = -1, but 2 steps make 48"),
    "proposals-of-another-step": ({"state": State(2, 64, 1.0)}, "proposals = 64"),
    "negative-step": ({"state": State(-1, 0, 1.0)}, "step = -1"),
    "step-beyond-the-run": ({"state": State(4, 80, 1.0)}, "optimizer.steps = 3"),
    "no-state": ({"state": None}, "some are missing"),
    "no-chains": ({"chains": None}, "some are missing"),
    "no-optimizer": ({"optimizer": None}, "some are missing"),
    "no-parameters": ({"parameters": {}}, "no parameters"),
    "no-ranks": ({"ranks": 0}, "ranks = 0"),
    "pairs-beyond-the-lattice": ({"mixing": {"pairs": torch.full((6, 2), 33, dtype=torch.int16)}}, "0 to 32"),
    "pairs-of-more-steps": ({"mixing": {"pairs": torch.zeros(6, 3, dtype=torch.int16)}}, "0 to 32"),
    "pairs-as-floats": ({"mixing": {"pairs": torch.zeros(6, 2)}}, "0 to 32"),
    "other-mixing": ({"mixing": {"x": torch.zeros(6, 2)}}, "x of mixing"),
}
CHAINS: dict[str, tuple[str, Tensor, str]] = {
    "duplicate-numbers": ("numbers", torch.tensor([0, 1, 2, 3, 4, 4]), "numbers are not 0 to 5"),
    "numbers-of-other-chains": ("numbers", NUMBERS + 6, "numbers are not 0 to 5"),
    "numbers-as-floats": ("numbers", NUMBERS.double(), "torch.float64"),
    "spin-of-3": ("spins", torch.full_like(SPINS, 3), "neither +1 nor -1"),
    "spin-of-0": ("spins", torch.zeros_like(SPINS), "neither +1 nor -1"),
    "outside-Sz-0": ("spins", neighbour(SPINS), "S^z = 0"),
    "spins-as-floats": ("spins", SPINS.float(), "torch.float32"),
    "another-lattice": ("spins", torch.ones(6, 6, 6, dtype=torch.int8), "(6, 6, 6)"),
    "too-few-chains": ("spins", SPINS[:5], "(5, 4, 4)"),
    "history-is-infinite": ("history", torch.full((6, 2), torch.inf, dtype=torch.float64), "sampling.bound"),
    "history-too-long": ("history", torch.zeros(6, 3, dtype=torch.float64), "(6, 3)"),
    "history-without-steps": ("history", torch.zeros((), dtype=torch.float64), "()"),
}


@pytest.mark.parametrize("name", [*CRAFTED, *CHAINS])
def test_a_field_that_no_run_has_written_is_named(name: str) -> None:
    """With a right digest, so that the field itself must be looked at."""
    if name in CRAFTED:
        changes, word = CRAFTED[name]
    else:
        key, tensor, word = CHAINS[name]
        changes = {"chains": {**made().chains, key: tensor}}
    refuse(content_of(made(**changes)), word)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    """In a parameter and in the optimizer's memory; the history may hold nan, of abnormal chains."""
    sound = made()
    name, first = next(iter(sound.parameters.items()))
    refuse(content_of(made(parameters={**sound.parameters, name: torch.full_like(first, bad)})), "is not finite")
    solution = sound.optimizer["last_solution"].clone()
    solution[3] = bad
    refuse(content_of(made(optimizer={"last_solution": solution})), "last solution is not finite")
    history = torch.full((6, 2), torch.nan, dtype=torch.float64)
    decode(content_of(made(chains={**sound.chains, "history": history})), "x")


SOUND = content_of(made())
TEXTS = {name: text for name, text in tensors.texts_of(SOUND, "x", "").items() if name != "digest"}
TENSORS = tensors.unpack(SOUND, "x", "")


def repacked(change: Callable[[dict[str, str]], None]) -> bytes:
    """The sound checkpoint with the texts of its header changed and a right digest."""
    texts = dict(TEXTS)
    change(texts)
    return tensors.pack(TENSORS, texts)


@pytest.mark.parametrize("name", ["format", "config", "provenance", "state", "ranks", "imported"])
@pytest.mark.parametrize("text", [None, "", "{", "nan", "[]", "{}", '"x"', "-1", "1e999", '{"step": 1}', "[" * 9999])
def test_texts_that_are_missing_or_mistyped(name: str, text: str | None) -> None:
    """Each text of the header, missing or holding something else, is one sentence (30 of 56 were tracebacks once)."""

    def change(texts: dict[str, str]) -> None:
        del texts[name]
        if text is not None:
            texts[name] = text

    refuse(repacked(change))


@pytest.mark.parametrize("section", ["model", "sampling", "optimizer", "run"])
def test_configuration_is_checked(section: str) -> None:
    """An unknown key and an impossible value in the stored configuration."""

    def misspell(texts: dict[str, str]) -> None:
        data = json.loads(texts["config"])
        data[section]["x"] = 1
        texts["config"] = json.dumps(data)

    refuse(repacked(misspell), "unknown key")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(["config", "provenance", "state", "ranks", "imported"]),
    key=st.sampled_from(["", "step", "alpha", "proposals", "log", "model", "run", "machine", "versions", "file"]),
    value=JSON,
)
def test_no_header_is_a_traceback(name: str, key: str, value: object) -> None:
    """300 headers with an arbitrary value in an arbitrary place: read or refused in a sentence."""

    def change(texts: dict[str, str]) -> None:
        data = json.loads(texts[name])
        texts[name] = json.dumps({**data, key: value} if key and isinstance(data, dict) else value)

    content = repacked(change)
    read_or_refused(content)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_are_a_traceback(noise: bytes, framed: bool) -> None:
    """300 arbitrary files, half of them with a header of the right length."""
    refuse(len(noise).to_bytes(8, "little") + noise if framed else noise)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_version_1_has_no_digest_but_no_traceback_either(data: st.DataObject) -> None:
    """200 damaged files of version 0.1.0, with one byte changed in the header: read or refused in a sentence."""
    content = bytearray((DATA / "checkpoint-0.1.0.safetensors").read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[data.draw(st.integers(0, header - 1))] = data.draw(st.integers(0, 255))
    read_or_refused(bytes(content))


def test_format_of_a_later_version_is_named() -> None:
    """Neither guessed at nor half read."""
    content = content_of(made()).replace(FORMAT.encode(), b"qmcbench-checkpoint-9")
    assert "qmcbench-checkpoint-9" in refuse(content, FORMAT)


def test_run_of_version_0_1_0_goes_on(tmp_path: Path) -> None:
    """Its checkpoint has no digest and lacks the keys added since, which take their defaults; its log is kept."""
    shutil.copy(DATA / "checkpoint-0.1.0.safetensors", tmp_path / CHECKPOINT)
    shutil.copy(DATA / "log-0.1.0.jsonl", tmp_path / LOG)
    old = checkpoint.read(tmp_path / CHECKPOINT)
    assert old.state == State(20, 480, 1.0, None)
    assert old.provenance.versions["qmcbench"] == "0.1.0"
    config = dataclasses.replace(
        old.config,
        optimizer=dataclasses.replace(old.config.optimizer, steps=21),
        run=dataclasses.replace(old.config.run, threads=1),
    )
    before = (tmp_path / LOG).read_text()
    trainer = train(config, tmp_path, quiet=True)
    assert trainer.step == 21
    assert (tmp_path / LOG).read_text().startswith(before)
    assert len(read_log(tmp_path / LOG)) == 21
    assert tensors.texts_of((tmp_path / CHECKPOINT).read_bytes(), "x", "")["format"] == FORMAT != FORMAT_1


def test_devices_and_folders_are_no_checkpoints(tmp_path: Path) -> None:
    """Nothing endless is read, and a name that the system refuses is a sentence."""
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "none", tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(UserError):
            checkpoint.read(path)
