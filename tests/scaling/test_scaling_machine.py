"""Machine files: round trip, every mistake named, and draws that have the errors and correlations written down."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qmcbench.errors import UserError
from qmcbench.scaling import machine
from qmcbench.scaling.machine import Machine, dump, load, parse
from qmcbench.scaling.model import NAMES, Costs

COSTS = Costs(40.125, 30.0, 2.0, 0.8, 0.02, 0.3, 9.0, 0.0, 60.0)
FULL = Machine(
    "cluster",
    COSTS,
    'two sockets, "fast" network',
    "spec sheet",
    48,
    {"cnn_rate": 0.1, "gemm_rate": 0.3},
    ((1.0, -0.6), (-0.6, 1.0)),
    {"product": 0.2, "data": 0.05},
    ("gemm_rate",),
)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The full file with one key changed, or without it if the value is None."""
    data = tomllib.loads(dump(FULL))
    *tables, key = path.split(".")
    table = data
    for name in tables:
        table = table[name]
    if value is None:
        del table[key]
    else:
        table[key] = value
    return data


@pytest.mark.parametrize("made", [FULL, Machine("bare", COSTS)], ids=["full", "bare"])
def test_round_trip(made: Machine, tmp_path: Path) -> None:
    """What is written is read back the same, quotation marks and all."""
    path = tmp_path / "machine.toml"
    path.write_text(dump(made), encoding="utf-8")
    assert load(path) == load(str(path)) == made


def test_the_shipped_machine() -> None:
    """``sunway`` is there by name, and writing it again gives the same file."""
    assert "sunway" in machine.shipped()
    path = Path(machine.__file__).with_name("machines") / "sunway.toml"
    assert dump(load("sunway")) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("nodes", 3, r"m: unknown key 'nodes'; known here: name, costs, "),
        ("costs.warp", {"value": 1}, r"m: unknown key costs\.'warp'; known here: cnn_rate, "),
        ("costs.gemm_rate.unti", "GF/s", r"m: unknown key costs\.gemm_rate\.'unti'; known here: value, unit"),
        ("name", None, r"m: the key name is missing"),
        ("costs", None, r"m: the key costs is missing"),
        ("costs.gemm_rate", None, r"m: the key costs\.gemm_rate is missing"),
        ("costs.gemm_rate.value", None, r"m: the key costs\.gemm_rate\.value is missing"),
        ("costs.gemm_rate.unit", None, r"m: the key costs\.gemm_rate\.unit is missing"),
        ("costs.gemm_rate.unit", "TF/s", r"unit = 'TF/s' is wrong: gemm_rate is in GF/s; convert the value"),
        ("costs.gemm_rate.value", -1.0, r"gemm_rate\.value = -1\.0 must be above 0"),
        ("costs.gemm_rate.value", 0, r"gemm_rate\.value = 0\.0 must be above 0"),
        ("costs.panel_latency.value", -1e-6, r"panel_latency\.value = -1e-06 must be 0 or more"),
        ("costs.gemm_rate.value", float("inf"), r"gemm_rate\.value = inf must be above 0 and finite"),
        ("costs.gemm_rate.value", "fast", r"gemm_rate\.value: 'fast' is not a number"),
        ("costs.gemm_rate.value", True, r"gemm_rate\.value: True is not a number"),
        ("costs.gemm_rate.error", -0.1, r"gemm_rate\.error = -0\.1 must be 0 or more"),
        ("costs.gemm_rate.fitted", "yes", r"gemm_rate\.fitted: 'yes' is not true or false"),
        ("costs.gemm_rate", 3.0, r"m: costs\.gemm_rate is not a table of keys"),
        ("name", 7, r"m: name: 7 is not a string"),
        ("name", "", r"m: name = '' names no machine"),
        ("processes_per_node", 0, r"processes_per_node = 0 is not at least 1"),
        ("processes_per_node", 1.5, r"processes_per_node: 1\.5 is not an integer"),
        ("spread.sampling", 0.1, r"m: unknown key spread\.'sampling'; known here: .*monte_carlo"),
        ("spread.product", -0.1, r"spread\.product = -0\.1 must be 0 or more"),
        (
            "correlation.names",
            ["gemm_rate", "cnn_rate"],
            r"names must list the costs that have an error, in order: cnn",
        ),
        ("correlation.rows", [[1.0]], r"correlation\.rows is not a symmetric 2 x 2 matrix"),
        ("correlation.rows", [[1.0, 0.5], [0.4, 1.0]], r"correlation\.rows is not a symmetric 2 x 2 matrix"),
        ("correlation.rows", [[1.0, 2.0], [2.0, 1.0]], r"correlation\.rows has a correlation outside"),
        ("correlation.rows", "none", r"m: correlation\.rows: 'none' is not a list"),
        ("correlation.extra", 1, r"m: unknown key correlation\.'extra'"),
    ],
)
def test_mistakes_are_named(path: str, value: Any, message: str) -> None:
    """Unknown, missing, of the wrong kind or out of range: where, what, and what is allowed."""
    with pytest.raises(UserError, match=message):
        parse(changed(path, value), "m")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file names the shipped machines; what is not TOML says so."""
    with pytest.raises(
        UserError, match=r"Cannot read the machine file nowhere\.toml: .*give a file or one of: sunway"
    ):
        load("nowhere.toml")
    path = tmp_path / "broken.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(UserError, match=r"broken\.toml is not valid TOML"):
        load(path)


def test_draws_have_the_errors_and_correlations() -> None:
    """Log-normal about the values; costs without an error are never moved."""
    drawn = FULL.draw(20000, np.random.default_rng(0))
    assert drawn.shape == (20000, len(NAMES))
    logs = np.log(drawn[:, :2] / COSTS.values()[:2])
    np.testing.assert_allclose(logs.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(logs.std(axis=0), [0.1, 0.3], rtol=0.03)
    assert np.corrcoef(logs.T)[0, 1] == pytest.approx(-0.6, abs=0.02)
    assert (drawn[:, 2:] == COSTS.values()[2:]).all()


def test_draws_without_a_correlation_are_independent() -> None:
    """Errors alone: no correlation."""
    data = tomllib.loads(dump(FULL))
    del data["correlation"]
    logs = np.log(parse(data).draw(20000, np.random.default_rng(0))[:, :2])
    assert abs(np.corrcoef(logs.T)[0, 1]) < 0.03


def test_rounded_correlations_need_not_be_positive() -> None:
    """A matrix that rounding made indefinite still gives finite draws of the right size."""
    made = Machine(
        "m", COSTS, errors=dict.fromkeys(NAMES[:3], 0.1), correlation=((1, 1, 0.9), (1, 1, 1), (0.9, 1, 1))
    )
    logs = np.log(made.draw(20000, np.random.default_rng(0))[:, :3])
    np.testing.assert_allclose(logs.std(axis=0), 0.1, rtol=0.05)


def test_nodes() -> None:
    """A node that is not full is a node."""
    assert [FULL.nodes(count) for count in (1, 48, 49, 96)] == [1, 1, 2, 2]


def test_has_band() -> None:
    """A machine with neither errors nor scatter has no band."""
    assert FULL.has_band
    assert not Machine("bare", COSTS).has_band
