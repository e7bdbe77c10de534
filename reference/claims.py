"""Every quantitative claim of the seed paper, from ``data/claims.toml`` and the numbers of ``data/paper.toml``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from qmcbench.reference.models import model_spec
from qmcbench.reference.schemas import document

Document = Mapping[str, Any]
Of = dict[str, float | str]
SYMMETRY = {"sym": "C4", "nosym": "none", "none": "none", "C4": "C4"}
LARGE = model_spec("large").parameters


@dataclass(frozen=True)
class Number:
    """A number of a table or figure, and what it is of."""

    what: str
    value: float
    of: Of
    path: str
    """Where it stands in paper.toml."""


@dataclass(frozen=True)
class Claim:
    """One claim; ``answer`` names an entry of :func:`answers`."""

    place: str
    what: str
    value: float
    unit: str
    answer: str
    of: Of = field(default_factory=dict)
    """Which value of the answer."""
    path: str = ""
    """Where the number stands in paper.toml; empty for those of the text."""
    relation: str = "equal"
    within: float = 0.0
    """Fraction of the value by which "about" may be off."""
    contradiction: str = ""
    """How the paper contradicts it, if it does."""


@dataclass(frozen=True)
class AnswerKind:
    """What answers some claims: the kinds of record, what makes them, and how long that takes."""

    about: str
    kinds: tuple[str, ...]
    command: str = ""
    """Empty: nothing makes them yet."""
    time: str = ""
    differs: str = ""
    """Why what was measured may differ without anybody being wrong."""


@cache
def answers() -> dict[str, AnswerKind]:
    """By name."""
    found = document("claims")["answers"]
    return {name: AnswerKind(**(each | {"kinds": tuple(each["kinds"])})) for name, each in found.items()}


@cache
def claims() -> tuple[Claim, ...]:
    """All of them: tables and figures first, then the text."""
    paper, found = document("paper"), []
    for group in document("claims")["group"]:
        settings = {key: value for key, value in group.items() if key not in ("name", "but")}
        for each in GROUPS[group["name"]](paper):
            fitting = (but for but in group.get("but", []) if but["of"].items() <= each.of.items())
            # What is so of this one alone stands in place of what is so of the group.
            own = settings | next(fitting, {}) | {"of": each.of}
            found.append(Claim(**own, what=each.what, value=each.value, path=each.path))
    return (*found, *(Claim(**each) for each in document("claims")["claim"]))


def _table1(key: str) -> Callable[[Document], Iterator[Number]]:
    def numbers(paper: Document) -> Iterator[Number]:
        for name, value in paper["table1"][key].items():
            yield Number(f"{key}, {name}", value, {"name": key, "network": name}, f"table1.{key}.{name}")

    return numbers


def _cores(paper: Document) -> Iterator[Number]:
    table = paper["table2"]
    of: Of = {"name": "cores", "processes": table["max_processes"]}
    yield Number(f"cores of {table['max_processes']:,} processes", table["max_cores"], of, "table2.max_cores")


def _work(row: Document) -> tuple[str, Of]:
    words = f"{row['parameters']:,} parameters, {row['processes']:,} processes"
    return words, {"source": "Table 3", "parameters": row["parameters"], "processes": row["processes"]}


def _scalapack(paper: Document) -> Iterator[Number]:
    for n, row in enumerate(paper["table3"]["rows"]):
        words, of = _work(row)
        path = f"table3.rows.{n}.scalapack_s"
        yield Number(f"ScaLAPACK, {words}", row["scalapack_s"], of | {"phase": "sr"}, path)


def _columns(key: str, phase: str, word: str) -> Callable[[Document], Iterator[Number]]:
    def numbers(paper: Document) -> Iterator[Number]:
        for n, row in enumerate(paper["table3"]["rows"]):
            words, of = _work(row)
            for k, (case, value) in enumerate(zip(paper["table3"]["cases"], row[key], strict=True)):
                lattice, symmetry = case.split("-")
                own: Of = {"phase": phase, "L": int(lattice.split("x")[0]), "symmetry": SYMMETRY[symmetry]}
                what = f"{word}, {lattice} {'with' if symmetry == 'sym' else 'without'} C4, {words}"
                yield Number(what, value, of | own, f"table3.rows.{n}.{key}.{k}")

    return numbers


def _table4(paper: Document) -> Iterator[Number]:
    for n, row in enumerate(paper["table4"]["rows"]):
        for k, (J2, value) in enumerate(zip(paper["table4"]["J2"], row["energy"], strict=True)):
            of: Of = {"L": row["L"], "J2": J2, "parameters": LARGE, "symmetry": "C4"}
            yield Number(f"energy, {row['L']}x{row['L']}, J2 = {J2:g}", value, of, f"table4.rows.{n}.energy.{k}")


def _figure7(paper: Document) -> Iterator[Number]:
    for name, value in paper["figure7"]["share_percent"].items():
        path = f"figure7.share_percent.{name}"
        yield Number(f"share of {name} in a forward pass", value, {"operation": name}, path)


def _figure8(paper: Document) -> Iterator[Number]:
    figure = paper["figure8"]
    for name, value in figure["saturated_speedup"].items():
        L = int(name.split("_")[1]) if "_" in name else 10
        of: Of = {"operation": "Conv2D", "L": L}
        yield Number(f"speedup of Conv2D, large, {L}x{L}", value, of, f"figure8.saturated_speedup.{name}")
    for name, value in figure["other_operations"].items():
        path = f"figure8.other_operations.{name}"
        yield Number(f"speedup of {name}", value, {"operation": name, "L": 10}, path)


PHASES = {"pdpotrf_s": "factorisation", "pdgemm_s": "product", "data_op_s": "data"}


def _seconds(key: str, parameters: int, processes: int, source: str) -> tuple[str, Of]:
    words = f"{key.removesuffix('_s').replace('data_op', 'data operations')}, {parameters:,} parameters"
    of: Of = {"source": source, "phase": PHASES[key], "parameters": parameters, "processes": processes}
    return f"{words}, {processes:,} processes", of


def _figure9(paper: Document) -> Iterator[Number]:
    for name in ("medium", "large"):
        series = paper["figure9"][name]
        for key in ("pdpotrf_s", "pdgemm_s"):
            for n, (processes, value) in enumerate(zip(series["processes"], series[key], strict=True)):
                what, of = _seconds(key, series["parameters"], processes, "Fig. 9")
                yield Number(what, value, of, f"figure9.{name}.{key}.{n}")


def _figure9_text(paper: Document) -> Iterator[Number]:
    for processes in (1024, 40000):
        key = f"large_pdpotrf_{processes}_s"
        what, of = _seconds("pdpotrf_s", LARGE, processes, "Fig. 9")
        yield Number(what, paper["figure9"]["text"][key], of, f"figure9.text.{key}")


def _figure9_speedup(paper: Document) -> Iterator[Number]:
    value = paper["figure9"]["text"]["large_total_speedup"]
    what = "speedup of ScaLAPACK from 1,024 to 40,000 processes, large"
    yield Number(what, value, {"name": "speedup"}, "figure9.text.large_total_speedup")


def _figure10(paper: Document) -> Iterator[Number]:
    figure = paper["figure10"]
    for key in PHASES:
        for n, (processes, value) in enumerate(zip(figure["processes"], figure[key], strict=True)):
            what, of = _seconds(key, LARGE, processes, "Fig. 10")
            yield Number(what, value, of, f"figure10.{key}.{n}")


def _efficiencies(paper: Document) -> Iterator[Number]:
    for lattice, value in paper["figure10"]["parallel_efficiency_at_490000"].items():
        of: Of = {"name": "efficiency", "L": int(lattice.split("x")[0]), "processes": 490000}
        path = f"figure10.parallel_efficiency_at_490000.{lattice}"
        yield Number(f"parallel efficiency on 490,000 processes, {lattice}", value, of, path)


def _figure10_cores(paper: Document) -> Iterator[Number]:
    figure = paper["figure10"]
    for name, processes in (("smallest", figure["processes"][0]), ("largest", figure["processes"][-1])):
        of: Of = {"name": "cores", "processes": processes}
        yield Number(f"cores of {processes:,} processes", figure["cores"][name], of, f"figure10.cores.{name}")


def _figure11(key: str) -> Callable[[Document], Iterator[Number]]:
    def numbers(paper: Document) -> Iterator[Number]:
        stages = paper["figure11"]["stages"]
        for n, stage in enumerate(stages):
            L, symmetry = stage["L"], SYMMETRY[stage["symmetry"]]
            steps = f", {stage['steps']:,} steps" if key == "end" and "steps" in stage else ""
            of: Of = {"L": L, "J2": 0.5, "parameters": LARGE, "symmetry": symmetry}
            of["from"] = stages[n - 1]["L"] if n else 0
            words = f"{key} of stage {n + 1}, {L}x{L} {'with' if symmetry == 'C4' else 'without'} C4{steps}"
            yield Number(words, stage[key], of, f"figure11.stages.{n}.{key}")

    return numbers


def _figure12(paper: Document) -> Iterator[Number]:
    for n, row in enumerate(paper["figure12"]["rows"]):
        steps = f", {row['steps']:,} steps" if "steps" in row else ""
        of: Of = {"L": row["L"], "J2": 0.5, "parameters": row["parameters"], "symmetry": "none"}
        what = f"energy, {row['L']}x{row['L']}, {row['parameters']:,} parameters{steps}"
        yield Number(what, row["energy"], of, f"figure12.rows.{n}.energy")


def _figure12_errors(paper: Document) -> Iterator[Number]:
    for n, row in enumerate(paper["figure12"]["rows"]):
        of: Of = {"name": "relative error", "L": row["L"], "energy": row["energy"]}
        what = f"relative error of {row['energy']}, {row['L']}x{row['L']}"
        yield Number(what, row["relative_error"], of, f"figure12.rows.{n}.relative_error")


WORDS = {"start": "start of", "reached": "soon reached by", "end": "end of"}


def _figure13(keys: tuple[str, ...]) -> Callable[[Document], Iterator[Number]]:
    def numbers(paper: Document) -> Iterator[Number]:
        for n, row in enumerate(paper["figure13"]["rows"]):
            direct = row["mode"] == "direct"
            for key in keys:
                if key in row:
                    steps = (
                        f", {row['steps']:,} steps"
                        if "steps" in row and key == ("end" if direct else "reached")
                        else ""
                    )
                    of: Of = {"L": row["L"], "J2": 0.5, "parameters": LARGE, "symmetry": "none" if direct else "C4"}
                    of["from"] = 0 if direct else 24
                    mode = "direct training" if direct else "transfer from 24x24"
                    what = f"{WORDS[key]} {mode}, {row['L']}x{row['L']}{steps}"
                    yield Number(what, row[key], of, f"figure13.rows.{n}.{key}")

    return numbers


GROUPS: dict[str, Callable[[Document], Iterator[Number]]] = {
    "table1.parameters": _table1("parameters"),
    "table1.channels": _table1("channels"),
    "table2.cores": _cores,
    "table3.scalapack": _scalapack,
    "table3.iteration": _columns("mc_s", "iteration", "iteration"),
    "table3.overhead": _columns("overhead", "overhead", "overhead"),
    "table4": _table4,
    "figure7": _figure7,
    "figure8": _figure8,
    "figure9": _figure9,
    "figure9.text": _figure9_text,
    "figure9.speedup": _figure9_speedup,
    "figure10.seconds": _figure10,
    "figure10.efficiency": _efficiencies,
    "figure10.cores": _figure10_cores,
    "figure11.start": _figure11("start"),
    "figure11.end": _figure11("end"),
    "figure12.energy": _figure12,
    "figure12.error": _figure12_errors,
    "figure13.start": _figure13(("start",)),
    "figure13.end": _figure13(("reached", "end")),
}
"""How the numbers of each group are found in paper.toml."""
SETTINGS = (
    "table2.parameters.", "table2.lattices.", "table2.max_processes", "table3.samples_per_process",
    "table3.rows.*.parameters", "table3.rows.*.processes", "table4.J2.", "table4.rows.*.L", "figure8.batch_sizes.",
    "figure9.medium.parameters", "figure9.medium.processes.", "figure9.large.parameters", "figure9.large.processes.",
    "figure10.processes.", "figure10.samples_per_process", "figure11.stages.*.L", "figure11.stages.*.steps",
    "figure12.rows.*.L", "figure12.rows.*.parameters", "figure12.rows.*.steps", "figure13.rows.*.L",
    "figure13.rows.*.steps",
)  # fmt: skip
"""Numbers of paper.toml that say what a claim is about and are none."""
