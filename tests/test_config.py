"""Configurations: read back as they were written, wrong ones refused with the key that is wrong, schedules."""

import dataclasses
import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from qmcbench.config import Config, Optimizer, Sampling, Schedule, load, parse
from qmcbench.errors import UserError
from qmcbench.sr import SOLVERS

MODEL = {"L": 4, "J2": 0.5}


def with_key(key: str, value: object) -> dict[str, Any]:
    """A complete configuration with one ``section.name`` set."""
    section, name = key.split(".")
    data: dict[str, Any] = {"model": dict(MODEL)}
    data.setdefault(section, {})[name] = value
    return data


def test_lattice_and_coupling_are_enough() -> None:
    """Everything else has a default, and the defaults are allowed values."""
    config = parse({"model": MODEL})
    assert (config.model.L, config.model.J2) == (4, 0.5)
    assert parse(config.to_dict()) == config


def test_round_trip() -> None:
    """What ``to_dict`` gives is read back to the same configuration, also through JSON as checkpoints store it."""
    data = {
        "model": {"L": 10, "J2": 0},
        "wavefunction": {"network": "large", "sign": "none", "symmetry": "none", "dtype": "float64", "start": "x"},
        "sampling": {"chains": 64, "gap": 5, "warm_up": 0, "alpha": 1.5, "effective_fraction": 0.4, "bound": 100},
        "optimizer": {"steps": 7, "solver": "dense", "learning_rate": [[0, 0.2], [50, 0.01]], "shift": 0.01},
        "run": {"seed": 9, "device": "cuda:1", "threads": 2, "checkpoint_every": 3, "hours": 0.5},
    }
    config = parse(data)
    assert parse(config.to_dict()) == config
    assert parse(json.loads(json.dumps(config.to_dict()))) == config
    for section, entries in data.items():
        for key, value in entries.items():
            kept = getattr(getattr(config, section), key)
            if isinstance(kept, Schedule):
                assert kept(0) == pytest.approx(value[0][1] if isinstance(value, list) else value)
            else:
                assert kept == value


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("full", "full"),
        ("rotation, -reflection", "rotation, -reflection"),
        (["rotation", "-reflection"], "rotation, -reflection"),
        ([], "none"),
    ],
    ids=str,
)
def test_symmetries(given: str | list[str], kept: str) -> None:
    """A preset, names of generators, or a list of them, which is kept as one string."""
    config = parse({"model": MODEL, "wavefunction": {"symmetry": given}})
    assert config.wavefunction.symmetry == kept
    assert parse(config.to_dict()) == config


def test_whole_numbers_are_numbers() -> None:
    """``J2 = 0`` and ``alpha = 2`` mean 0.0 and 2.0."""
    config = parse({"model": {"L": 4, "J2": 0}, "sampling": {"alpha": 2}})
    assert isinstance(config.model.J2, float)
    assert isinstance(config.sampling.alpha, float)


def test_a_configuration_cannot_be_changed() -> None:
    """It is frozen at every level."""
    config = parse({"model": MODEL})
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.model.L = 6  # type: ignore[misc]


def test_every_solver_can_be_asked_for() -> None:
    """Each solver of the package is an allowed value."""
    for name in SOLVERS:
        assert parse(with_key("optimizer.solver", name)).optimizer.solver == name


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param({}, ["model"], id="nothing"),
        pytest.param({"model": {"L": 4}}, ["J2"], id="no-J2"),
        pytest.param({"model": MODEL, "sampler": {}}, ["sampler", "sampling"], id="unknown-section"),
        pytest.param(with_key("model.j2", 0.5), ["j2", "J2"], id="unknown-model-key"),
        pytest.param(with_key("sampling.chain", 8), ["chain", "chains"], id="unknown-sampling-key"),
        pytest.param(with_key("optimizer.lr", 0.1), ["lr", "learning_rate"], id="unknown-optimizer-key"),
        pytest.param({"model": 4}, ["model"], id="section-is-a-number"),
        pytest.param({"model": MODEL, "run": "cpu"}, ["run"], id="section-is-a-string"),
        pytest.param({"model": [MODEL]}, ["model"], id="section-is-a-list"),
    ],
)
def test_wrong_keys(data: dict[str, Any], names: list[str]) -> None:
    """A key that is missing, unknown or no section is named, and so is what is known there."""
    with pytest.raises(UserError) as refusal:
        parse(data, source="my.toml")
    message = str(refusal.value)
    assert message.startswith("my.toml")
    assert "\n" not in message
    for name in names:
        assert re.search(rf"\b{name}\b", message), message


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.L", 4.0),
        ("model.L", "4"),
        ("model.L", True),
        ("model.J2", "0.5"),
        ("model.J2", True),
        ("model.J2", [0.5]),
        ("wavefunction.network", 3),
        ("wavefunction.start", 3),
        ("sampling.chains", 10.5),
        ("sampling.gap", 2.0),
        ("optimizer.shift", "small"),
        ("optimizer.shift", True),
        ("optimizer.shift", []),
        ("optimizer.shift", [0.1, 0.2]),
        ("optimizer.shift", [[0, 0.1, 0.2]]),
        ("optimizer.shift", [[0.5, 0.1]]),
        ("optimizer.shift", [[0, "0.1"]]),
        ("optimizer.shift", [[10, 0.1], [10, 0.2]]),
        ("optimizer.shift", [[10, 0.1], [5, 0.2]]),
        ("run.seed", 1.5),
        ("run.device", 0),
    ],
    ids=str,
)
def test_wrong_types(key: str, value: object) -> None:
    """A value of another type is refused, by the name of its key, and never converted silently."""
    with pytest.raises(UserError, match=re.escape(key)):
        parse(with_key(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.J2", math.nan),
        ("model.J2", math.inf),
        ("wavefunction.network", "huge"),
        ("wavefunction.sign", "Marshall"),
        ("wavefunction.symmetry", "c4"),
        ("wavefunction.symmetry", ["rotation", "turn"]),
        pytest.param("wavefunction.symmetry", "-row shift", id="wavefunction.symmetry-against-the-network's"),
        pytest.param("wavefunction.symmetry", "rotation, -column shift", id="wavefunction.symmetry-contradictory"),
        ("wavefunction.dtype", "float16"),
        ("sampling.chains", 0),
        ("sampling.chains", -5),
        pytest.param("sampling.chains", 10**400, id="sampling.chains-401-digits"),
        ("sampling.gap", 0),
        ("sampling.warm_up", -1),
        ("sampling.alpha", 2.1),
        ("sampling.alpha", -0.1),
        ("sampling.alpha", math.nan),
        ("sampling.effective_fraction", 1.5),
        ("sampling.bound", 0.0),
        ("optimizer.steps", -1),
        ("optimizer.solver", "cg"),
        ("optimizer.learning_rate", 0),
        ("optimizer.learning_rate", -0.1),
        ("optimizer.shift", [[0, 0.1], [9, 0.0]]),
        ("optimizer.max_step_norm", math.inf),
        ("optimizer.shift", [["0%", 0.1], [9, 0.01]]),
        ("optimizer.shift", [[0, 0.1], ["9%", 0.01]]),
        ("optimizer.shift", [["0%", 0.1], ["101%", 0.01]]),
        ("optimizer.shift", [["-1%", 0.1], ["nan%", 0.01]]),
        ("optimizer.shift", [["0", 0.1]]),
        ("optimizer.shift", [["half%", 0.1]]),
        ("optimizer.shift", [["9%", 0.1], ["9.0%", 0.01]]),
        ("optimizer.starts", 0),
        ("optimizer.trial", 0),
        ("run.seed", -1),
        ("run.threads", 0),
        ("run.device", "gpu"),
        ("run.checkpoint_every", 0),
        ("run.hours", -1.0),
    ],
    ids=str,
)
def test_values_out_of_range(key: str, value: object) -> None:
    """A value that cannot work is refused before anything runs, by the names of its key and its file."""
    with pytest.raises(UserError, match=re.escape(key)) as refusal:
        parse(with_key(key, value), source="my.toml")
    assert str(refusal.value).startswith("my.toml")


@pytest.mark.parametrize("L", [5, 2, 38, 0, -4])
def test_impossible_lattices(L: int) -> None:
    """Odd and out-of-range sizes are refused with the value."""
    with pytest.raises(UserError, match=f"L = {L}"):
        parse(with_key("model.L", L))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling.alpha", 0.0),
        ("sampling.alpha", 2.0),
        ("sampling.gap", 1),
        ("model.L", 36),
        ("model.J2", -1.5),
        ("optimizer.steps", 0),
        ("run.seed", 2**63 - 1),
    ],
)
def test_ends_of_the_ranges_are_allowed(key: str, value: float) -> None:
    """Bounds are inclusive."""
    section, name = key.split(".")
    assert getattr(getattr(parse(with_key(key, value)), section), name) == value


def test_from_a_file(tmp_path: Path) -> None:
    """A TOML file gives the configuration that its tables say."""
    path = tmp_path / "run.toml"
    path.write_text('[model]\nL = 6\nJ2 = 0.4\n[optimizer]\nshift = [[0, 1e-2], [100, 1e-4]]\nsolver = "dense"\n')
    config = load(path)
    assert isinstance(config, Config)
    assert (config.model.L, config.model.J2, config.optimizer.solver) == (6, 0.4, "dense")
    assert config.optimizer.shift.knots == ((0, 1e-2), (100, 1e-4))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[model\nL = 4", id="syntax"),
        pytest.param(b"L: 4", id="yaml"),
        pytest.param(b"[model]\nL = 4\nL = 6\n", id="repeated-key"),
        pytest.param(b"[model]\n# \xff\nL = 4\nJ2 = 0.5\n", id="latin-1"),
    ],
)
def test_files_that_are_not_toml(content: bytes, tmp_path: Path) -> None:
    """Broken syntax, another format, a repeated key or another encoding are refused with the path."""
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.toml"):
        load(path)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and a directory are refused with the path."""
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(UserError, match=re.escape(path.name)):
            load(path)


def test_errors_of_a_file_name_it(tmp_path: Path) -> None:
    """The path stands in front of what is wrong inside the file."""
    path = tmp_path / "run.toml"
    path.write_text("[model]\nL = 4\nJ2 = 0.5\n[sampling]\nalpha = 3\n")
    with pytest.raises(UserError, match=r"run\.toml: sampling\.alpha = 3"):
        load(path)


def test_constant_schedule() -> None:
    """A plain number holds at every step."""
    rate = parse(with_key("optimizer.learning_rate", 0.15)).optimizer.learning_rate
    assert [rate(step) for step in (0, 1, 10**6)] == [0.15] * 3


def test_schedule_between_knots_and_outside() -> None:
    """Geometric between knots, exact at them, constant before the first and after the last."""
    shift = parse(with_key("optimizer.shift", [[10, 1.0], [30, 0.01], [40, 0.02]])).optimizer.shift
    for step, value in ((0, 1.0), (10, 1.0), (15, 10**-0.5), (20, 0.1), (30, 0.01), (40, 0.02), (999, 0.02)):
        assert shift(step) == pytest.approx(value, rel=1e-12)
    assert shift(35) == pytest.approx(math.sqrt(0.01 * 0.02), rel=1e-12)
    values = [shift(step) for step in range(10, 31)]
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def test_schedule_by_percents() -> None:
    """Knots at percents follow the share of the run that is made, whatever the step; stored, they are the same."""
    config = parse(with_key("optimizer.learning_rate", [["0%", 1.0], ["50%", 1], ["100%", 0.01]]))
    rate = config.optimizer.learning_rate
    found = [rate(step, done) for step, done in ((0, 0.0), (999, 0.3), (1, 0.5), (2, 0.75), (3, 1.0), (4, 1.7))]
    assert found == pytest.approx([1, 1, 1, 0.1, 0.01, 0.01], rel=1e-12)
    assert parse(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(AssertionError):
        rate(50)


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
PLAIN = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = [f"{section}.{key}" for section, keys in parse({"model": MODEL}).to_dict().items() for key in [*keys, "other"]]


@hypothesis.settings(max_examples=400, deadline=None, derandomize=True)
@hypothesis.given(st.dictionaries(st.sampled_from([*KEYS, "model", "run", "x"]), PLAIN, min_size=1, max_size=3))
def test_no_configuration_is_a_traceback(changes: dict[str, Any]) -> None:
    """400 configurations with arbitrary values: read and stored again alike, or refused in one sentence."""
    data: dict[str, Any] = {"model": dict(MODEL)}
    for place, value in changes.items():
        section, _, key = place.partition(".")
        if key and isinstance(data.setdefault(section, {}), dict):
            data[section][key] = value
        else:
            data[section] = value
    try:
        config = parse(data)
    except UserError as error:
        refused = str(error)
        assert "\n" not in refused
    else:
        assert parse(json.loads(json.dumps(config.to_dict()))) == config


@hypothesis.settings(max_examples=200, deadline=None, derandomize=True)
@hypothesis.given(st.binary(max_size=120))
def test_no_file_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    """200 arbitrary files: refused in one sentence."""
    path = tmp_path_factory.getbasetemp() / "noise.toml"
    path.write_bytes(noise)
    with pytest.raises(UserError):
        load(path)


def test_endless_file_is_refused() -> None:
    """A device that never ends is read to a bound."""
    with pytest.raises(UserError, match="longer than 256 MiB"):
        load(Path("/dev/zero"))


def test_recipe_fills_in_what_is_left_open() -> None:
    """Recipe 2 where the configuration is silent, recipe 1 (the dataclasses' own) where it asks for that."""
    open_, old = parse({"model": MODEL}), parse({"model": MODEL, "run": {"recipe": 1}})
    assert (open_.run.recipe, old.run.recipe) == (2, 1)
    assert (old.sampling, old.optimizer) == (Sampling(), Optimizer())
    assert open_.optimizer != old.optimizer
    given = parse({"model": MODEL, "optimizer": {"learning_rate": 0.3}, "sampling": {"chains": 64, "alpha": 0.7}})
    assert given.optimizer.learning_rate.knots == ((0, 0.3),)
    assert given.optimizer.max_step_norm == open_.optimizer.max_step_norm
    assert open_.sampling.effective_fraction == 0.2
    assert (open_.optimizer.starts, parse(with_key("model.L", 6)).optimizer.starts) == (3, 1)
    six = [parse({"model": {"L": 6, "J2": j2}}).wavefunction.symmetry for j2 in (0.6, 0.7)]
    assert six == ["full", "C4"]
    # Whoever names alpha means that it stays.
    assert given.sampling == dataclasses.replace(open_.sampling, chains=64, alpha=0.7, effective_fraction=None)
    with pytest.raises(UserError, match=r"run\.recipe = 3"):
        parse({"model": MODEL, "run": {"recipe": 3}})


def test_preset_of_the_paper() -> None:
    """The authors' settings where the configuration is silent, whatever the recipe; what it says stays."""
    made = parse({"model": MODEL, "run": {"preset": "paper"}, "optimizer": {"shift": 0.5}})
    assert (made.sampling.alpha, made.sampling.effective_fraction, made.sampling.warm_up_lattices) == (2.0, None, 1)
    assert (made.optimizer.solver, made.optimizer.momentum) == ("dense", 0.0)
    assert (made.optimizer.learning_rate(0), made.optimizer.shift(0)) == (0.04, 0.5)
    assert (made.scalapack.product, made.scalapack.redistribution) == ("pdgemm", "alltoall")
    assert parse(made.to_dict()) == made
    with pytest.raises(UserError, match=r"run\.preset = 'seed' is not one of own, paper"):
        parse({"model": MODEL, "run": {"preset": "seed"}})
