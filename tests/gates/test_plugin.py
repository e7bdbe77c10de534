"""The plugin of pytest and ``parametrize_with_gates``: one test a gate, at the odds of all, and three outcomes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from qmcbench import reference
from qmcbench.errors import UserError
from qmcbench.gates import cases, parametrize_with_gates, registry
from qmcbench.gates.run import Plan, one, outcomes
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.load import load
from qmcbench.gates.targets.target import Target

pytest_plugins = ["pytester"]

# What a run inside this process imports it forgets again; gates must not be registered twice.
registry.load()
reference.published()

# Hypothesis, imported anew in each run, would take most of the time.
PLUGIN = ("-p", "qmcbench.gates.plugin", "-p", "no:hypothesispytest")
TABLE = "L,J2,energy,sigma,variance,samples,method\n6,0.5,-0.5036,1e-5,6e-4,100000,CNN\n"
TESTS = """
from qmcbench.gates import parametrize_with_gates
from qmcbench.gates.targets.claims import ClaimedEnergy
from qmcbench.gates.targets.target import Target

def claimed(energy, sigma):
    return Target(name="claimed", energies=(ClaimedEnergy(row=1, L=6, J2=0.5, energy=energy, sigma=sigma),))

GATES = ["claims/units", "claims/variational", "claims/exact"]

@parametrize_with_gates(claimed(-0.5036, 1e-5), only=GATES)
def test_right(gate):
    gate()

@parametrize_with_gates(claimed(-0.5100, 1e-5), only=GATES)
def test_wrong(gate):
    gate()

@parametrize_with_gates(claimed(-0.5100, 1e-5), only=GATES, expected_failures={"claims/variational": "a window"})
def test_known(gate):
    gate()

@parametrize_with_gates(claimed(-0.5036, 1e-5), only=GATES, expected_failures={"claims/variational": "a window"})
def test_mended(gate):
    gate()

@parametrize_with_gates(claimed(-0.5036, 2e-3), only=GATES, expected_failures={"claims/variational": "a window"})
def test_vague(gate):
    gate()
"""


def table(pytester: pytest.Pytester, text: str = TABLE) -> str:
    """A table of claimed energies in the folder of the test."""
    path = pytester.path / "energies.csv"
    path.write_text(text)
    return str(path)


def gates(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    """``pytest --pyargs qmcbench.gates`` in this process."""
    return pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", "--pyargs", "qmcbench.gates", *options)


def test_outcomes_of_a_users_test_file(pytester: pytest.Pytester) -> None:
    """Passed, failed, skipped, expected failures, and one that passes or decides nothing against expectation."""
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", "-rA")
    result.assert_outcomes(passed=6, failed=3, skipped=5, xfailed=1)
    result.stdout.fnmatch_lines_random(
        [
            "PASSED *::test_right[[]claims/variational]",
            "XFAIL *::test_known[[]claims/variational] - a window",
            "[[]XPASS(strict)] a window",
            "FAILED *::test_mended[[]claims/variational]*",
            "FAIL claims/variational: row 1 (6x6, J2 = 0.5): exact energy",
            "INCONCLUSIVE claims/variational: row 1 (6x6, J2 = 0.5): exact energy",
            "  doubt:    the error is too large to see 0.005; take more samples",
            "  again:    pytest '*::test_wrong[[]claims/variational]'",
            "10 gates ran, 5 skipped (no row says enough)",
        ]
    )
    assert "Traceback" not in result.stdout.str()


def test_a_target_by_its_name(pytester: pytest.Pytester) -> None:
    """All gates are collected, those that do not apply are skipped and say why, and -k chooses among them."""
    path = table(pytester)
    result = gates(pytester, "--qmc-target", path, "--qmc-level", "claims", "-v")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(["*test_gate[[]claims/units] PASSED*", "4 gates ran, 1 skipped (no row says enough)"])
    gates(pytester, "--qmc-target", path, "--qmc-only", "claims/*", "-k", "units or error").assert_outcomes(
        passed=2, deselected=3
    )
    result = gates(pytester, "--qmc-target", path, "--qmc-only", "hamiltonian/*", "--qmc-only", "samples/energy")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["0 gates ran, * skipped (the target brings no *"])


def test_failures_say_how_to_see_them_again(pytester: pytest.Pytester) -> None:
    """The command line of the command, with the options that were given."""
    path = table(pytester, TABLE.replace("-0.5036,", "-0.5136,"))
    result = gates(
        pytester, "--qmc-target", path, "--qmc-only", "claims/variational", "--qmc-seed", "3", "--qmc-quick"
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"  again:    qmcbench gate {path} * --only claims/variational --seed 3 *--quick"])
    assert "test_gates.py" not in result.stdout.str().partition("FAILURES")[2].partition("short test summary")[0]


def test_effects_and_rates_are_options(pytester: pytest.Pytester) -> None:
    """An effect that the error is too large for leaves the gate undecided; 4 sigma are an alarm at 1e-3 only."""
    path = table(pytester)
    options = ("--qmc-target", path, "--qmc-only", "claims/variational")
    result = gates(pytester, *options, "--qmc-effect", "claims/variational=1e-5")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["INCONCLUSIVE claims/variational*"])
    table(pytester, TABLE.replace("-0.5036,", "-0.50385,"))
    gates(pytester, *options).assert_outcomes(failed=1)
    gates(pytester, *options, "--qmc-rate", "1e-9").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--qmc-target", "nowhere:psi"), "There is no module 'nowhere'"),
        (("--qmc-target", "x.csv", "--qmc-level", "clams"), "There is no level 'clams'"),
        (("--qmc-target", "x.csv", "--qmc-effect", "claims"), "GATE=SIZE"),
    ],
    ids=["target", "level", "effect"],
)
def test_mistakes_are_one_sentence(pytester: pytest.Pytester, options: tuple[str, ...], words: str) -> None:
    """No traceback, and a status that is not 0."""
    result = gates(pytester, *options, *(() if "--qmc-level" in options else ("-k", "units")))
    assert result.ret != 0
    assert words in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "Error" not in result.stdout.str()


def test_without_a_target_it_says_what_is_missing(pytester: pytest.Pytester) -> None:
    """One test, which is skipped: nothing of qmcbench runs by accident."""
    result = gates(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*no target: say what to test*--qmc-target*"])


def test_options_stand_in_a_group_of_their_own(pytester: pytest.Pytester) -> None:
    """As ``pytest --help`` shows them."""
    help_text = pytester.runpytest_inprocess(*PLUGIN, "--help").stdout.str()
    group = help_text.partition("gates of a variational wave function")[2].partition("\n\n")[0]
    for name in ("target", "only", "level", "quick", "rate", "effect", "L", "j2", "seed"):
        assert f"--qmc-{name}" in group


def test_xdist_and_junit(pytester: pytest.Pytester) -> None:
    """Two processes run the gates, their properties come back, and the XML names each gate."""
    path = table(pytester)
    options = (
        "--qmc-target",
        path,
        "--qmc-level",
        "claims",
        "-n",
        "2",
        "--junitxml",
        "out.xml",
        "-p",
        "no:cacheprovider",
    )
    result = pytester.runpytest_subprocess(*PLUGIN, "--pyargs", "qmcbench.gates", *options)
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(["4 gates ran, 1 skipped (no row says enough)"])
    suite = ElementTree.parse(pytester.path / "out.xml").getroot()[0]
    assert suite.attrib["tests"] == "5"
    names = {node.attrib["value"] for node in suite.iter("property") if node.attrib["name"] == "gate"}
    assert names == {f"claims/{name}" for name in ("units", "variational", "exact", "error-bar", "variance")}


def test_importing_the_plugin_costs_nothing() -> None:
    """Nothing but itself and what importing qmcbench takes, in under 20 ms; no torch, NumPy or QuSpin."""
    code = "import pytest, sys; had = set(sys.modules); import qmcbench.gates.plugin; print(*set(sys.modules) - had)"
    command = [sys.executable, "-X", "importtime", "-c", code]
    costs = []
    for _ in range(3):  # the fastest of a few: other processes share the cores
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        line = next(line for line in result.stderr.splitlines() if line.endswith("qmcbench.gates.plugin"))
        costs.append(int(line.split("|")[1]))
        assert set(result.stdout.split()) <= {"qmcbench", "qmcbench.cores", "qmcbench.gates", "qmcbench.gates.plugin"}
    assert min(costs) < 20_000, costs


def test_the_package_names_the_plugin() -> None:
    """The entry point is the module's name, so that ``-p no:qmcbench.gates.plugin`` turns it off."""
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"qmcbench.gates.plugin": "qmcbench.gates.plugin"}


def test_one_gate_has_the_odds_of_all(tmp_path: Path) -> None:
    """A gate that is run alone is held at the rate that it has among all gates of the plan."""
    (tmp_path / "a.csv").write_text(TABLE)
    target, plan = load(str(tmp_path / "a.csv")), Plan(levels=["claims"])
    together = {each.gate.name: each.checks for each in outcomes(target, plan)}
    for name, checks in together.items():
        assert one(name, target, plan).checks == checks
    with pytest.raises(UserError, match="not among"):
        one("samples/energy", target, plan)


def test_expected_failures_must_be_gates() -> None:
    """A misspelt name would excuse nothing for ever."""
    row = ClaimedEnergy(row=1, L=4, J2=0.5, energy=-0.5)
    with pytest.raises(pytest.UsageError, match="claims/unit"):
        parametrize_with_gates(Target(name="one", energies=(row,)), expected_failures={"claims/unit": "why"})


def test_the_target_is_made_when_it_is_needed() -> None:
    """Collecting tests reads no file."""
    suite = cases.Suite("nothing.csv", cases.Size(), Plan(only=["claims/*"]))
    assert "claims/units" in {param.id for param in suite.params()}
    with pytest.raises(pytest.fail.Exception, match=r"nothing\.csv"):
        suite.params()[0].values[0]()
