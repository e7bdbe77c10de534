"""The registry and the run of gates: selection, odds, two stages, skipping, exceptions, words and exit status."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import called

from qmcbench.config import parse
from qmcbench.errors import UserError
from qmcbench.gates import registry, summary
from qmcbench.gates.check import Check, Verdict
from qmcbench.gates.registry import GATES, Effect, Setting, gate, load, select
from qmcbench.gates.run import SECOND, Plan, outcomes, recorded, stage_rate
from qmcbench.gates.targets.load import load as target_of
from qmcbench.gates.targets.target import Target
from qmcbench.training import CHECKPOINT, train

TARGET = Target(name="mine", engine=True)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with nothing in it, and no level to load."""
    load()
    monkeypatch.setattr(registry, "GATES", {})
    monkeypatch.setattr(registry, "load", lambda: registry.GATES)
    monkeypatch.setattr("qmcbench.gates.run.load", lambda: registry.GATES)


def add(
    name: str, value: Callable[[Setting], float | None], *, statistical: bool = True, needs: str = "engine"
) -> None:
    """A gate of the level hamiltonian, whose check has that value, at most 1, with an error of 0.1 of the effect."""

    def make(target: Target, setting: Setting) -> Check:
        """Proves nothing."""
        return Check(
            name=f"check of {name}", check="unbiased" if statistical else "exact", value=value(setting), bound=1.0,
            sigma=0.1 if statistical else None, smallest_effect=1.0 if statistical else None,
            false_alarm=setting.rate if statistical else None, statement="The value is at most 1.",
        )  # fmt: skip

    make.__name__, make.__module__ = name, "qmcbench.gates.levels.hamiltonian"
    effect = Effect(size=1.0, unit="J1") if statistical else None
    gate("unbiased" if statistical else "exact", needs=[needs], cause="a bug", effect=effect)(make)


def verdicts(plan: Plan | None = None) -> dict[str, Verdict]:
    """Of every gate."""
    plan = plan or Plan()
    run = recorded(TARGET, plan, outcomes(TARGET, plan), "qmcbench gate")
    return {name: summary.verdict(run, name) for name in registry.GATES}


def test_every_gate_is_documented() -> None:
    """Each has a level, a sentence, a cause, and if it is statistical an effect that it must see."""
    gates = load()
    assert len(gates) == len(GATES)
    for name, each in gates.items():
        assert name.count("/") == 1
        assert each.about.endswith(".")
        assert each.cause
        assert each.effect is None or each.kind != "exact", name
        assert each.effect is not None or each.kind in ("exact", "convergence", "variational"), name


def test_selection() -> None:
    """By name, pattern, level and quickness; what matches nothing is refused."""
    assert [each.name for each in select(["hamiltonian/m*"])] == ["hamiltonian/magnons"]
    assert {each.level for each in select(levels=["large", "hamiltonian"])} == {"hamiltonian", "large"}
    assert not {each.name for each in select()} - set(load())
    slow = [each.name for each in load().values() if not each.quick]
    assert not {each.name for each in select(quick=True)} & set(slow)
    with pytest.raises(UserError, match="There is no level 'nothing'; the levels are hamiltonian, "):
        select(levels=["nothing"])
    with pytest.raises(UserError, match="No gate is called 'nothing'"):
        select(["nothing"])


@pytest.mark.usefixtures("only")
def test_the_rate_is_shared_by_what_applies() -> None:
    """Two stages of each test that runs share the family-wise rate; exact and skipped gates have no part in it."""
    for name in ("one", "two", "three", "four"):
        add(name, lambda setting: 0.0)
    add("exact", lambda setting: 0.0, statistical=False)
    add("skipped", lambda setting: 0.0, needs="samples")
    rate = stage_rate(TARGET, Plan(rate=1e-2), list(registry.GATES.values()))
    assert 4 * rate**2 == pytest.approx(1e-2)


@pytest.mark.usefixtures("only")
def test_an_alarm_has_to_come_twice() -> None:
    """With the first seed alone it is none; with both it is a failure. An exact gate fails at once."""
    add("never", lambda setting: 0.5)
    add("once", lambda setting: 0.5 if setting.seed >= SECOND else 2.0)
    add("second", lambda setting: 2.0 if setting.seed >= SECOND else 0.5)
    add("twice", lambda setting: 2.0)
    add("exact", lambda setting: 0.5 if setting.seed >= SECOND else 2.0, statistical=False)
    add("nothing", lambda setting: None, statistical=False)
    assert verdicts() == {
        "hamiltonian/never": Verdict.PASS,
        "hamiltonian/once": Verdict.PASS,
        "hamiltonian/second": Verdict.PASS,
        "hamiltonian/twice": Verdict.FAIL,
        "hamiltonian/exact": Verdict.FAIL,
        "hamiltonian/nothing": Verdict.FAIL,
    }


@pytest.mark.usefixtures("only")
def test_what_is_noisy_decides_nothing() -> None:
    """An error of a tenth sees an effect of 1, and none of 0.5."""
    add("noisy", lambda setting: 0.5)
    assert verdicts() == {"hamiltonian/noisy": Verdict.PASS}
    check = GATES.get("hamiltonian/noisy")
    assert check is None  # the real registry is untouched

    def make(target: Target, setting: Setting) -> Check:
        """Proves nothing."""
        return Check(
            name="noise", check="unbiased", value=0.0, bound=1.0, sigma=0.1, smallest_effect=setting.effect,
            false_alarm=setting.rate, statement="",
        )  # fmt: skip

    make.__module__ = "qmcbench.gates.levels.hamiltonian"
    gate("unbiased", needs=["engine"], cause="a bug", effect=Effect(size=1.0, unit="J1"))(make)
    assert verdicts(Plan(effects={"hamiltonian/make": 0.5}))["hamiltonian/make"] is Verdict.INCONCLUSIVE
    with pytest.raises(UserError, match="no statistical gate"):
        verdicts(Plan(effects={"hamiltonian/none": 0.5}))
    with pytest.raises(UserError, match="not a positive number"):
        verdicts(Plan(effects={"hamiltonian/make": -0.5}))
    with pytest.raises(UserError, match="not between 0 and 1"):
        verdicts(Plan(rate=0.0))


@pytest.mark.usefixtures("only")
def test_an_exception_of_the_target_is_a_failure() -> None:
    """It is named, and the gates after it run."""

    def broken(setting: Setting) -> float:
        raise ZeroDivisionError("psi is\nbroken")

    add("broken", broken, statistical=False)
    add("fine", lambda setting: 0.5)
    plan = Plan()
    run = recorded(TARGET, plan, outcomes(TARGET, plan), "qmcbench gate")
    assert [check.verdict for check in run.of(Check)] == [Verdict.FAIL, Verdict.PASS]
    [words] = summary.failures(run)
    assert "The target raised ZeroDivisionError: psi is broken" in words
    assert "likely:   a bug" in words
    assert words.endswith("again:    qmcbench gate mine --L 4 --j2 0.5 --only hamiltonian/broken --seed 0")
    assert summary.status(run) is summary.Status.FAILED


@pytest.mark.usefixtures("only")
@pytest.mark.parametrize("quick", [(), ("--quick",)], ids=["all", "quick"])
def test_a_failure_is_seen_again_with_the_same_bits(quick: tuple[str, ...]) -> None:
    """The line that it ends with runs that gate alone on the same target, with its seeds, its odds and its effect."""

    def make(target: Target, setting: Setting) -> Check:
        """Proves nothing."""
        return Check(
            name="all", check="unbiased", value=1.0, bound=0.0, false_alarm=setting.rate, sigma=0.0,
            smallest_effect=setting.effect, statement=f"L = {target.L}, J2 = {target.J2!r}, {setting}",
        )  # fmt: skip

    make.__module__ = "qmcbench.gates.levels.hamiltonian"
    gate("unbiased", needs=["engine"], cause="a bug", effect=Effect(size=1.0, unit="J1", tests=3))(make)
    add("other", lambda setting: 0.0)
    given = ("--L", 6, "--j2", 0.1, "--seed", 7, "--rate", 3e-4, "--effect", "hamiltonian/make=0.07", *quick)
    whole = called("gate", *given, "--quiet")
    assert "effect=0.07" in whole.stderr
    again = shlex.split(whole.stderr.rpartition("again:")[2])
    alone = called(*again[1:], "--quiet")
    assert "1 gate ran" in alone.stdout
    assert alone.stderr == whole.stderr
    assert whole.returncode == alone.returncode == 1


@pytest.mark.usefixtures("only")
def test_what_is_skipped_is_said() -> None:
    """A run in which nothing ran passes nothing; skipped gates stand in the headline with the reason."""
    add("skipped", lambda setting: 0.0, needs="samples")
    plan = Plan()
    run = recorded(TARGET, plan, outcomes(TARGET, plan), "qmcbench gate")
    assert summary.status(run) is summary.Status.UNDECIDED
    assert summary.headline(run) == (
        "0 gates ran: 0 passed; 1 skipped\n  skipped, the target brings no samples: hamiltonian/skipped"
    )


def test_a_checkpoint_is_a_target(tmp_path: Path) -> None:
    """The network of a run, on its own lattice and coupling or on another one; the suite's parts are lent to it."""
    settings = {"model": {"L": 4, "J2": 0.2}, "sampling": {"chains": 8}, "optimizer": {"steps": 0, "starts": 1}}
    train(parse(settings), tmp_path, quiet=True)
    target = target_of(str(tmp_path / CHECKPOINT))
    assert (target.L, target.J2) == (4, 0.2)
    assert "column shift" not in target.invariance
    assert "rotation" in target.invariance
    assert "evaluate" in target.lent
    assert target_of(str(tmp_path / CHECKPOINT), 6, 0.5).L == 6
    with pytest.raises(UserError, match="absent"):
        target_of(str(tmp_path / "absent.safetensors"))
