"""Damaged records of ``qmcbench scale``: a sentence each, never a traceback, whoever reads them."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.damage import bytes_changed, lines_changed
from helpers.stores import ORIGIN, store, strong_run, unfit, weak_run
from matplotlib.figure import Figure

from qmcbench.bench import scaling
from qmcbench.errors import UserError
from qmcbench.report.scaling import measured_figures, model_figures
from qmcbench.report.scaling.pages import chapters
from qmcbench.scaling import job
from qmcbench.scaling.measurements import points
from qmcbench.store import jsonl
from qmcbench.store.records import Run

COUNTS = {"strong": 200, "weak": 200, "projection": 150}
"""Damaged files of each kind."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The lines of a sound file of each kind."""
    out = tmp_path_factory.mktemp("whole")
    strong = [strong_run(3531, ranks) for ranks in (1, 2, 4)]
    jsonl.save(out, "strong", store(*strong, strong_run(3531, 2, product="pdsyrk"), unfit(strong_run(106529, 2))))
    jsonl.save(out, "weak", store(weak_run(10), weak_run(10, 2), weak_run(16, symmetry="C4")))
    job.run(job.ProjectRequest(processes=(5000,)), out)
    return {kind: out.joinpath(jsonl.FOLDER, f"{kind}.jsonl").read_text().splitlines() for kind in COUNTS}


def read(path: Path, kind: str) -> list[Callable[[], object]]:
    """Everything that takes such a file: the report, the list that goes on, and the fit."""

    def run() -> Run:
        return jsonl.read(path)

    others = {
        "strong": [lambda: scaling._load(path.parents[1], kind, ORIGIN), lambda: points(run())],
        "weak": [lambda: scaling._load(path.parents[1], kind, ORIGIN), lambda: points(run())],
        "projection": [],
    }
    return [lambda: chapters([run()]), *others[kind]]


@pytest.mark.parametrize("kind", COUNTS)
def test_no_damage_is_a_traceback(
    kind: str, whole: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of 550 damaged files is refused in one sentence, or can be computed with (a digit may have changed)."""
    drawn = 0
    real = measured_figures.render

    def draw(name: str, size: tuple[float, float], draw: Callable[[Figure], None]) -> str:
        # Most of a figure's time is its SVG, which every fifth is made of.
        nonlocal drawn
        drawn += 1
        if drawn % 5 == 0:
            return real(name, size, draw)
        draw(Figure(figsize=size))
        return "<svg></svg>"

    monkeypatch.setattr(measured_figures, "render", draw)
    monkeypatch.setattr(model_figures, "render", draw)
    dice = random.Random(20260101)
    path = tmp_path / jsonl.FOLDER / f"{kind}.jsonl"
    path.parent.mkdir()
    refused = 0
    for number in range(COUNTS[kind]):
        text = "".join(line + "\n" for line in whole[kind]).encode()
        path.write_bytes(bytes_changed(text, dice) if number % 3 == 0 else lines_changed(whole[kind], dice))
        said = []
        for use in read(path, kind):
            try:
                use()
            except UserError as error:
                said.append(str(error))
            except Exception as error:
                raise AssertionError(f"file {number}: {type(error).__name__}: {error}") from error
        refused += bool(said)
        assert all("\n" not in sentence and len(sentence) < 700 for sentence in said), said
    # What is not refused is text that changed (names, dates), a line that a growing list may lack, or another time.
    assert COUNTS[kind] / 3 < refused < COUNTS[kind]
    assert drawn > 10
