"""The history: every commit's own code is measured, what is measured is kept, and steps are found and named."""

import importlib.util
import subprocess
from pathlib import Path

import pytest
from helpers.benches import commits, origin

from qmcbench.bench import asv_run, history
from qmcbench.errors import UserError
from qmcbench.report import book
from qmcbench.report.history import pages
from qmcbench.store.bench import CommitTime
from qmcbench.store.records import Run

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BENCHMARK = """
class Phases:
    params = ("sampling", "local_energy", "derivatives", "solve", "step")
    param_names = ("phase",)
    unit = "seconds"

    def setup_cache(self):
        from qmcbench.vmc import seconds
        from qmcbench.reference import factor

        return seconds * factor

    def track_phase(self, seconds, phase):
        return seconds
"""


def git(folder: Path, *arguments: str) -> None:
    """Run git there, as somebody."""
    who = ["-c", "user.name=Somebody", "-c", "user.email=some@body"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A history whose code says how long it takes: 2 s, broken, 1 s; and one commit that changes no code."""
    root = tmp_path / "checkout"
    for folder in ("qmcbench", "reference", "benchmarks/history"):
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").touch()
    (root / "benchmarks" / "history" / "steps.py").write_text(BENCHMARK)
    (root / "benchmarks" / "asv.conf.json").write_bytes((BENCHMARKS / "asv.conf.json").read_bytes())
    (root / "reference" / "__init__.py").write_text("factor = 1.0\n")
    git(root, "init", "-q")
    for number, content in enumerate(("seconds = 2.0", "seconds = ", "seconds = 1.0", None)):
        (root / "notes").write_text(str(number))
        if content is not None:
            (root / "qmcbench" / "vmc.py").write_text(content)
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", f"Change\t{number}")
    return root


def test_each_commit_is_measured_with_its_own_code(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a real asv; a commit that fails says so and stops nothing; measured again, only it is run again."""
    request = history.Request(checkout, tmp_path / "out", commits=3, quick=True, quiet=True)
    records = history.measure(request)
    assert [each.subject for each in records[:: len(history.PHASES)]] == ["Change\t0", "Change\t1", "Change\t2"]
    assert [each.value for each in records if each.phase == "step"] == [2.0, None, 1.0]
    assert {each.not_run for each in records if each.value is None} == {history.FAILED}
    commits: list[str | None] = []
    monkeypatch.setattr(asv_run, "run", lambda request: commits.append(request.commit))
    assert history.measure(request) == records
    assert [commit[:7] for commit in commits if commit] == [records[len(history.PHASES)].commit]


def test_what_git_cannot_give(tmp_path: Path, checkout: Path) -> None:
    """No repository, one without the engine, and too few commits are each refused in a sentence."""
    with pytest.raises(UserError, match="git log failed in"):
        history.engine_commits(tmp_path)
    bare = tmp_path / "bare"
    bare.mkdir()
    git(bare, "init", "-q")
    git(bare, "commit", "-q", "--allow-empty", "-m", "Nothing")
    with pytest.raises(UserError, match="knows no commit of bare that adds qmcbench/vmc"):
        history.engine_commits(bare)
    with pytest.raises(UserError, match="A history of 1 commits is none"):
        history.spread(history.engine_commits(checkout), 1)


@pytest.mark.parametrize(("number", "places"), [(2, [0, 9]), (4, [0, 3, 6, 9]), (99, list(range(10)))])
def test_commits_are_spread(number: int, places: list[int]) -> None:
    """At equal distances with both ends; all of them if more are asked for than there are."""
    commits = [history.Commit(str(n), str(n), "", "") for n in range(10)]
    assert [int(each.full) for each in history.spread(commits, number)] == places


def test_the_benchmark_measures_this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its phases are there and add up to the step, at the sizes that the records state."""
    monkeypatch.setenv("QMCBENCH_BENCH", "quick")
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location("steps", BENCHMARKS / "history" / "steps.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.Phases.params == history.PHASES
    assert (module.L, module.CHAINS) == history.QUICK_SIZE
    steps = module.Phases().setup_cache()
    assert len(steps) == module.STEPS
    for each in steps:
        assert 0.5 * each["step"] < sum(each[phase] for phase in history.PHASES[:-1]) <= each["step"]
    assert module.Phases().track_phase(steps, "solve") == min(each["solve"] for each in steps)


NOISE = (1.0, 1.02, 0.98, 1.01, 0.99, 1.0)


def test_steps_are_found_and_noise_is_none() -> None:
    """A planted step of 1.5 in either direction is where it was planted; without one there is none."""
    faster = history.levelled(commits([*NOISE, *(each / 1.5 for each in NOISE)]))
    assert [each.level for each in faster] == pytest.approx([1.0] * 6 + [1 / 1.5] * 6, rel=0.02)
    slower = history.levelled(commits([*NOISE, None, *(1.5 * each for each in NOISE)]))
    assert slower[6].level is None
    run = Run(job="bench history", provenance=origin("qmcbench bench history"), records=slower)
    _, steps = pages.tables(run)
    ((phase, before, after, *_, change),) = steps.rows
    assert (phase, before.text, after.text, change.text, change.style) == ("whole step", "c5", "c7", "0.67", "bad")
    assert pages.judgement(run).remarks == ["Slower than at its best: whole step, 1.50 times, c12."]
    assert not pages.judgement(run).passed
    quiet = Run(job="bench history", provenance=run.provenance, records=history.levelled(commits([*NOISE, *NOISE])))
    assert not book.tables(quiet)[1:]
    assert pages.judgement(quiet).headline.endswith("1.0 times as fast; asv detects 0 changes of all phases")
    assert pages.judgement(quiet).passed


def test_what_the_detection_leaves_is_said() -> None:
    """Beside a step of 6.6, one of 1.7 stays within a level (real times); the headline takes levels."""
    times = [0.5069, 0.3681, 0.2924, 0.3331, 0.0532, 0.0525, 0.0494, 0.0531, 0.034, 0.0322, 0.0342, 0.035]
    run = Run(job="bench history", provenance=origin("bench history"), records=history.levelled(commits(times)))
    levels = [each.level for each in run.of(CommitTime)]
    assert levels == pytest.approx([0.35] * 4 + [0.0528] * 4 + [0.0341] * 4, rel=0.01)
    caption = pages.tables(run)[1].caption
    assert "Of 12 commits a step is taken only if it brings" in caption
    assert "2.3 times nearer" in caption
    assert "differ by up to 1.73 (whole step)" in caption
    # The levels' ratio: 10.3; the medians' would be 14.5.
    assert ": 10.3 times as fast" in pages.judgement(run).headline


def test_the_chapter_is_in_the_book() -> None:
    """A part of its own, with a row for each commit, one figure, and what failed in red."""
    records = history.levelled([*commits([2.0, 2.0, None, 1.0, 1.0]), *commits([0.2, 0.2, 0.2, 0.2, 0.2], "solve")])
    run = Run(job="bench history", provenance=origin("qmcbench bench history"), records=records)
    (chapter,) = [each for each in book.bound([run]) if each.part == "History"]
    section = chapter.sections[0]
    assert len(section.plots) == 1
    table = section.tables[0]
    assert [row[0].text for row in table.rows] == ["c0", "c1", "c2", "c3", "c4"]
    assert table.rows[2][2].text == history.FAILED
    assert chapter.judgement.headline.startswith("A step of 2 s at c0 takes 1 s at c4 (levels): 2.0 times")
