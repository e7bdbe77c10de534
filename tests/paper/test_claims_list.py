"""The list of the paper's claims: nothing of its tables and figures is missing, and all of it can be answered."""

import re
import shlex
from collections import Counter
from fnmatch import fnmatch
from functools import cache

import pytest
import typer

from qmcbench.cli.main import app
from qmcbench.jobs.plan import load_profile
from qmcbench.paper.answers import ANSWERS
from qmcbench.paper.counted import count, neel, parameters
from qmcbench.paper.trainings import FRESH
from qmcbench.reference import model_spec, paper, published, schemas, verify_paper
from qmcbench.reference.claims import SETTINGS, answers, claims
from qmcbench.store.kinds import KINDS
from qmcbench.training import CHECKPOINT


def test_every_number_of_the_paper_is_a_claim_or_says_what_one_is_about() -> None:
    """A number added to paper.toml without a claim is seen, and so is a setting that no longer stands there."""
    paths = {each.path for each in claims() if each.path}
    numbers = set(verify_paper.numbers(schemas.document("paper")))
    assert paths <= numbers
    settings = {path for path in numbers for each in SETTINGS if fnmatch(path, each + "*" * each.endswith("."))}
    assert numbers - paths == settings
    assert len(paths) == sum(bool(each.path) for each in claims())  # none twice


def test_the_claims_keep_to_their_schema_and_can_be_answered() -> None:
    """Each names an answer that there is, made of kinds of record that there are, by a command that there is."""
    assert schemas.problems(schemas.document("claims"), "claims") == ()
    assert {each.answer for each in claims()} == set(answers()) == set(ANSWERS)
    for each in answers().values():
        assert set(each.kinds) <= set(KINDS)
        for text in filter(None, each.command.split(";")):
            words = shlex.split(text.split("qmcbench ", 1)[1])
            command = typer.main.get_command(app)
            while hasattr(command, "commands"):
                command, words = command.commands[words[0]], words[1:]
            names = {name for parameter in command.params for name in parameter.opts}
            assert {word for word in words if word.startswith("--")} <= names, text


@cache
def stages(commands: str) -> list[dict[str, float | str]]:
    """What the last of these plans trains; each is run in the folder that the next one's starts are in."""
    lattices: dict[str | None, int] = {None: FRESH}
    made: list[dict[str, float | str]] = []
    for name, folder in re.findall(r"transfer (\w+) --out ([\w/]+)", commands):
        plan = load_profile(name, kind="transfer")
        lattices |= {stage.name: stage.config.model.L for stage in plan.runs}
        made = [
            {
                "L": stage.config.model.L, "J2": stage.config.model.J2,
                "symmetry": stage.config.wavefunction.symmetry,
                "parameters": model_spec(stage.config.wavefunction.network).parameters, "from": lattices[stage.start],
            }
            for stage in plan.runs
        ]  # fmt: skip
        lattices |= {f"{folder}/runs/{each.folder}/{CHECKPOINT}": each.config.model.L for each in plan.runs}
    return made


def test_a_command_makes_what_it_is_named_for() -> None:
    """Each claim about a stage has one in the plan: its lattice, coupling, network, symmetry and start."""
    told = [each for each in claims() if " transfer " in answers()[each.answer].command]
    assert Counter(each.place for each in told) == {
        "Table 4": 29, "Fig. 11": 10, "Fig. 12": 5, "Fig. 13": 7, "Sec. 4.3.3": 4,
    }  # fmt: skip
    for each in told:
        made = stages(answers()[each.answer].command)
        assert any(each.of.items() <= stage.items() for stage in made), each.what
    (cell,) = [each for each in claims() if each.answer == "authors"]
    theirs = schemas.document("models")["checkpoint"]
    assert (cell.of["L"], cell.of["J2"], cell.of["symmetry"]) == (theirs["L"], theirs["J2"], theirs["symmetry"])
    assert [each.place for each in claims() if not answers()[each.answer].command] == ["Sec. 4.3.2"]


def test_claims_of_the_text_are_there() -> None:
    """The numbers that stand in no table: each with its place."""
    told = {(each.place, each.value) for each in claims() if not each.path}
    assert told >= {
        ("Sec. 3.1", 2), ("Sec. 3.1", 3), ("Sec. 3.3", 4), ("Sec. 4.1", 90), ("Sec. 4.3.1", -0.25),
        ("Sec. 4.3.3", -0.49626), ("Sec. 4.3.3", -0.49717), ("Sec. 5", 30), ("Sec. 5", 252),
    }  # fmt: skip
    printed = {each.value for each in claims() if each.path}
    assert printed >= {86.1, 300, 400, 12, 21, 24, 2.47, 0.925, 117.27}


def test_contradictions_are_real() -> None:
    """What the list says of the paper's own numbers can be computed from them."""
    by_what = {each.what: each for each in claims() if each.contradiction}
    kernel = next(each for what, each in by_what.items() if what.startswith("width of the transposed"))
    for network in ("small", "medium", "large"):
        assert f"{parameters(network, 3):,}" in kernel.contradiction
        assert f"{parameters(network):,}" in kernel.contradiction
    for L in (10, 16):
        told = by_what[f"energy of {L}x{L} by transfer, as the sentence orders them"]
        table = next(
            each for each in claims() if each.place == "Table 4" and each.what == f"energy, {L}x{L}, J2 = 0.5"
        )
        assert told.value != table.value
        assert f"{table.value}" in told.contradiction
    errors = [each for each in claims() if each.of.get("name") == "relative error" and each.of["L"] == 10]
    needed = [float(each.of["energy"]) / (1 - each.value) for each in errors]
    assert len({f"{each:.4f}" for each in needed}) > 1
    assert all(f"{each:.5f}" in errors[0].contradiction for each in needed)
    ends = [sum(paper.figure10[f"{part}_s"][n] for part in ("pdpotrf", "pdgemm", "data_op")) for n in (0, -1)]
    efficiency = next(each for what, each in by_what.items() if what.startswith("parallel efficiency"))
    assert f"from {ends[0]:.1f} s on 10,000 processes to {ends[1]:.1f} s" in efficiency.contradiction
    assert f"{benchmark(10)} on 10x10, {benchmark(16)} on 16x16" in errors[0].contradiction
    samples = next(each for what, each in by_what.items() if what.startswith("samples on 490 000"))
    for source in ("Table 3", "Fig. 10"):
        assert f"{count(samples.of | {'source': source}) / 1e6:.2f} million" in samples.contradiction
    assert count(samples.of | {"source": "Table 3"}) == 49 * 160_000
    channels = next(each for what, each in by_what.items() if what.startswith("channels"))
    for deconv in (2, 3):
        for width in paper.table1["channels"].values():
            assert f"{uniform(width, deconv):,}" in channels.contradiction
    cores = next(each for each in by_what.values() if each.place == "Abstract")
    assert f"{paper.table2['max_cores']:,}" in cores.contradiction


def benchmark(L: int) -> float:
    """The energy that the paper's reference [13] has for a lattice, J2 = 0.5."""
    return min(row.energy for row in published(L, 0.5) if row.cite == "Nomura, Imada, PRX 11, 031034 (2021)")


def uniform(width: int, deconv: int) -> int:
    """Parameters of six blocks of as many channels, kernels of 3x3, whose last has one channel."""
    convolutions = 9 * (width + 5 * width**2) + 6 * width
    return convolutions + deconv * (5 * width**2 + width) + 5 * width + 1


@pytest.mark.parametrize("processes", [10_000, 40_000])
def test_figure_10_is_another_setting_than_figure_9(processes: int) -> None:
    """The same part on as many processes has two times, and so has all of ScaLAPACK; the list says which."""
    of = {"phase": "product", "processes": processes, "source": "Fig. 10"}
    (claim,) = [each for each in claims() if of.items() <= each.of.items()]
    figure = paper.figure10
    at = figure["processes"].index(processes)
    whole = sum(figure[f"{part}_s"][at] for part in ("pdpotrf", "pdgemm", "data_op"))
    large = paper.figure9["large"]
    product = large["pdgemm_s"][large["processes"].index(processes)]
    (table,) = [
        row["scalapack_s"]
        for row in paper.table3["rows"]
        if (row["parameters"], row["processes"]) == (large["parameters"], processes)
    ]
    assert product > 1.5 * claim.value
    assert claim.contradiction.startswith(f"{product} s in Fig. 9")
    assert f"takes {whole:.1f} s here, {table} s in Table 3" in claim.contradiction


@pytest.mark.parametrize(
    ("L", "J2", "energy"), [(4, 0.0, -0.5), (6, 0.5, -0.25), (6, 1.0, 0.0)], ids=["4x4", "paper", "J2 = 1"]
)
def test_neel(L: int, J2: float, energy: float) -> None:
    """All nearest neighbours antiparallel, all next-nearest parallel."""
    assert neel(L, J2) == pytest.approx(energy, abs=1e-15)


def test_what_is_counted_is_named() -> None:
    """A misspelt name is one sentence."""
    with pytest.raises(Exception, match="Nothing is counted as 'core'"):
        count({"name": "core"})
