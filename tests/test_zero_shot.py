"""Zero-shot transfer: every size and coupling of one network, held against the references, kept and continued."""

from pathlib import Path
from typing import Any

import pytest
from helpers import energies
from helpers.energies import timeless

from qmcbench import estimates, evaluation
from qmcbench.errors import UserError
from qmcbench.files import Interrupted
from qmcbench.gates.check import Verdict
from qmcbench.gates.energies import claims
from qmcbench.jobs.zero_shot import RECORDS, Request, zero_shot
from qmcbench.report.numbers import format_value_error
from qmcbench.store import jsonl
from qmcbench.store.energies import Correlations, Energy, by_lattice
from qmcbench.store.records import Run


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint for 6x6, J2 = 0.5, imported with a published energy that nothing can agree with."""
    path = tmp_path_factory.mktemp("network") / "network.safetensors"
    return energies.network(path, 6, 0.5, published=-0.9)


def request(network: Path, out: Path, **changes: Any) -> Request:
    """A small quiet report on 4x4 and 6x6."""
    settings: dict[str, Any] = {"sizes": (6, 4), "couplings": (0.4, 0.5), "samples": 64, "chains": 8, "warm_up": 2}
    return Request(checkpoint=network, out=out, quiet=True, **settings | changes)


@pytest.fixture(scope="module")
def finished(network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """Its records, and its folder."""
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "WINDOW", (-2.0, 2.0))  # a random network has few energies in the authors' window
        return zero_shot(request(network, out)), out


def test_every_size_and_coupling_is_there(finished: tuple[Run, Path]) -> None:
    """Sizes ascend, each has every coupling, and smaller lattices get more samples for the same error per site."""
    run, out = finished
    assert jsonl.load(out, RECORDS) == run
    lattices = by_lattice(run.of(Energy))
    assert [[(each.L, each.J2) for each in those] for those in lattices] == [
        [(4, 0.4), (4, 0.5)],
        [(6, 0.4), (6, 0.5)],
    ]
    assert [those[0].samples for those in lattices] == [144, 64]
    assert {each.L for each in run.of(Correlations)} == {6}


def test_energies_are_held_against_the_exact_ones(finished: tuple[Run, Path]) -> None:
    """A variational check for each exact energy, and the published value of the same network on its own lattice.

    So few samples decide nothing; that a deviation fails where they do is shown in the tests of the gates.
    """
    run, _ = finished
    checks = claims(run.of(Energy))
    kinds = [check.check for check in checks]
    assert kinds.count("variational") == 4
    assert kinds.count("unbiased") == 1
    assert {check.verdict for check in checks} == {Verdict.INCONCLUSIVE}
    (published,) = [check for check in checks if check.check == "unbiased"]
    assert published.name == "published = sampled windowed energy, 6x6 J2=0.5"
    assert published.value > published.bound
    assert all(energy.exact is not None for energy in run.of(Energy))


def test_report_shows_what_was_measured(finished: tuple[Run, Path]) -> None:
    """The files hold the results, name what is undecided, mark what is doubtful, draw S(k) of the trained lattice."""
    run, out = finished
    html, text = (out / "index.html").read_text(), (out / "report.md").read_text()
    assert "Inconclusive: " in html
    assert "published = sampled windowed energy, 6x6 J2=0.5" in html
    assert "nobody &lt;2026&gt;" in html
    energy = run.of(Energy)[1]
    assert f"**{format_value_error(energy.value, energy.sigma)}**" in text
    assert "NOT TO BE TRUSTED" in text
    assert {path.name for path in (out / "figures").iterdir()} == {
        "energies-excess.svg",
        "energies-structure-factor-6.svg",
    }


def test_finished_evaluations_are_kept(network: Path, finished: tuple[Run, Path]) -> None:
    """The same call again samples nothing: the states are not written anew, the numbers are the same."""
    run, out = finished
    states = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*.safetensors")}
    assert len(states) == 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "WINDOW", (-2.0, 2.0))
        again = zero_shot(request(network, out, sizes=(4, 6)))
    assert timeless(again) == timeless(run)
    assert {path: path.stat().st_mtime_ns for path in states} == states


def test_interruption_leaves_records_and_a_partial_report(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the second size is stopped, the first is in both; before the first, the report says that it is empty."""
    right = evaluation.evaluate

    def stop(asked: evaluation.Request) -> Run:
        if asked.L == 6:
            raise Interrupted("stopped")
        return right(asked)

    monkeypatch.setattr(evaluation, "evaluate", stop)
    for sizes, kept in (((4, 6), [4]), ((6,), [])):
        with pytest.raises(Interrupted):
            zero_shot(request(network, tmp_path, sizes=sizes, couplings=(0.5,)))
        assert [energy.L for energy in jsonl.load(tmp_path, RECORDS).of(Energy)] == kept
    assert "incomplete" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("sizes", "words"), [((), "Neither a size nor a coupling"), ((4, 0), "L = 0"), ((4, 7), "L = 7")], ids=str
)
def test_bad_sizes_are_refused_before_any_work(
    sizes: tuple[int, ...], words: str, network: Path, tmp_path: Path
) -> None:
    """Even if the first of them is fine."""
    with pytest.raises(UserError, match=words):
        zero_shot(request(network, tmp_path / "out", sizes=sizes))
    assert not (tmp_path / "out").exists()


def test_a_repeated_coupling_counts_once(network: Path, tmp_path: Path) -> None:
    """Columns and energies of the table stay in step."""
    run = zero_shot(request(network, tmp_path, sizes=(4,), couplings=(0.4, 0.4, 0.5), samples=8, chains=4))
    assert [energy.J2 for energy in run.of(Energy)] == [0.4, 0.5]
