"""Zero-shot transfer: every size and coupling of one network, held against the references, kept and continued."""

import json
from pathlib import Path
from typing import Any

import plain
import pytest

from qmcbench import checkpoint, evaluation
from qmcbench.checkpoint import Checkpoint
from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.gates.checks import agreement
from qmcbench.jobs.zero_shot import zero_shot
from qmcbench.statistics import Estimate


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for 6x6, J2 = 0.5, imported with a published energy that nothing can agree with."""
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    config = parse({"model": {"L": 6, "J2": 0.5}, "wavefunction": {"dtype": "float64"}})
    origin = {"published_energy": -0.9, "L": 6, "J2": 0.5, "citation": "nobody <2026>", "licence": "MIT"}
    parameters = dict(plain.lively("small").state_dict())
    checkpoint.write(path, Checkpoint(parameters, {}, {}, {}, config.to_dict(), {"imported": origin}))
    return path


@pytest.fixture(scope="module")
def report(network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A small report on 4x4 and 6x6, and its folder."""
    out = tmp_path_factory.mktemp("report")
    settings: dict[str, Any] = {"samples": 64, "chains": 8, "warm_up": 2, "quiet": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "WINDOW", (-2.0, 2.0))  # a random network has few energies in the authors' window
        return zero_shot(network, out, sizes=(6, 4), couplings=(0.4, 0.5), **settings), out


def test_every_size_and_coupling_is_there(report: tuple[dict[str, Any], Path]) -> None:
    """Sizes ascend, each has every coupling, and smaller lattices get more samples for the same error per site."""
    results, _ = report
    assert [(e["L"], [row["J2"] for row in e["estimates"]]) for e in results["evaluations"]] == [
        (4, [0.4, 0.5]),
        (6, [0.4, 0.5]),
    ]
    assert [e["samples"] for e in results["evaluations"]] == [144, 64]
    assert [bool(e["observables"]) for e in results["evaluations"]] == [False, True]


def test_energies_are_held_against_the_exact_ones(report: tuple[dict[str, Any], Path]) -> None:
    """A variational check for each exact energy, and the published value of the same network on its own lattice."""
    results, _ = report
    kinds = [check["kind"] for check in results["checks"]]
    assert kinds.count("variational") == 4
    assert kinds.count("unbiased") == 1
    failed = [check["name"] for check in results["checks"] if not check["passed"]]
    assert failed == ["published = sampled windowed energy, 6x6 J2=0.5"]
    assert all(row["best"]["kind"] == "exact" for row in results["comparisons"])


def test_report_shows_what_was_measured(report: tuple[dict[str, Any], Path]) -> None:
    """The files exist, hold the results, name the failure and draw S(k) of the trained lattice only."""
    results, out = report
    assert json.loads((out / "results.json").read_text())["comparisons"] == json.loads(
        json.dumps(results["comparisons"])
    )
    html, text = (out / "index.html").read_text(), (out / "report.md").read_text()
    assert "FAILED: published = sampled windowed energy" in html
    assert "nobody &lt;2026&gt;" in html
    energy = results["evaluations"][0]["estimates"][1]["energy"]
    assert f"{energy:.2f}" in text
    assert {path.name for path in (out / "plots").iterdir()} == {"excess.svg", "structure-factor-6.svg"}


def test_finished_evaluations_are_kept(network: Path, report: tuple[dict[str, Any], Path]) -> None:
    """The same call again samples nothing: the states are not written anew, the numbers are the same."""
    results, out = report
    states = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*.safetensors")}
    assert len(states) == 2
    again = zero_shot(network, out, sizes=(4, 6), couplings=(0.4, 0.5), samples=64, chains=8, warm_up=2, quiet=True)
    assert again["comparisons"] == results["comparisons"]
    assert {path: path.stat().st_mtime_ns for path in states} == states


@pytest.mark.parametrize(
    ("sizes", "words"), [((), "Neither a size nor a coupling"), ((4, 0), "L = 0"), ((4, 7), "L = 7")]
)
def test_bad_sizes_are_refused_before_any_work(
    sizes: tuple[int, ...], words: str, network: Path, tmp_path: Path
) -> None:
    """Even if the first of them is fine."""
    with pytest.raises(UserError, match=words):
        zero_shot(network, tmp_path / "out", sizes=sizes)
    assert not (tmp_path / "out").exists()


def test_a_repeated_coupling_counts_once(network: Path, tmp_path: Path) -> None:
    """Columns and energies of the table stay in step."""
    settings: dict[str, Any] = {"samples": 8, "chains": 4, "warm_up": 1, "quiet": True}
    results = zero_shot(network, tmp_path, sizes=(4,), couplings=(0.4, 0.4, 0.5), **settings)
    assert results["J2"] == [0.4, 0.5] == [row["J2"] for row in results["evaluations"][0]["estimates"]]


def test_agreement_is_two_sided() -> None:
    """Three standard errors off passes, a little more on either side does not."""
    found = Estimate(-0.5, 1e-3, 1.0, 1.0, 1.0, 100, 100.0, True)
    passed = [agreement("x", found, -0.5 + sigma * 1e-3).passed for sigma in (-3.01, -2.99, 0, 2.99, 3.01)]
    assert passed == [False, True, True, True, False]
