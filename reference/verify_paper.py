"""Checks of the seed paper's numbers: against each other, the published energies and the networks' layouts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from qmcbench.reference.published import PublishedEnergy
from qmcbench.reference.verification import Verification

Document = Mapping[str, Any]

SEED_PAPER = "arXiv:2108.13830"

_CORES_PER_PROCESS = 65
# Where the checks below find their numbers; all other numbers of the paper are counted as not checked.
_CHECKED = (
    "table1.parameters.",
    "table2.parameters.",
    "table2.max_",
    "table3.rows.",
    "table4.",
    "figure7.share_percent.",
    "figure9.",
    "figure10.cores.",
    "figure11.stages.",
    "figure12.rows.",
    "figure13.rows.",
)


def table3(paper: Document) -> Verification:
    """Every printed overhead is ScaLAPACK over Monte Carlo time."""
    failures, checked = [], 0
    for row in paper["table3"]["rows"]:
        for mc_s, overhead in zip(row["mc_s"], row["overhead"], strict=True):
            checked += 1
            ratio = row["scalapack_s"] / mc_s
            if abs(ratio - overhead) > 1e-3:
                failures.append(
                    f"table3, {row['parameters']} parameters on {row['processes']} processes: "
                    f"overhead {overhead}, and {row['scalapack_s']} / {mc_s} = {ratio:.4f}"
                )
    return Verification("paper, Table 3", "overhead = scalapack_s / mc_s, to 0.001", checked, (*failures,))


def table4(paper: Document, rows: Sequence[PublishedEnergy]) -> Verification:
    """The published energies attributed to the seed paper are those of its Table 4, and one of its Fig. 11."""
    table = {(L, J2, energy) for (L, J2), energy in cells(paper).items()}
    last = paper["figure11"]["stages"][-1]
    table.add((last["L"], 0.5, last["end"]))
    listed = {(row.L, row.J2, row.energy) for row in rows if row.id == SEED_PAPER}
    failures = [f"paper.toml has {entry} (L, J2, energy), published.toml has not" for entry in sorted(table - listed)]
    failures += [f"published.toml has {entry} (L, J2, energy), the paper has not" for entry in sorted(listed - table)]
    way = f"the rows of published.toml with {SEED_PAPER}, both ways"
    return Verification("paper, Table 4 and the end of Fig. 11", way, len(table | listed), (*failures,))


def training(paper: Document, milestones: Sequence[Document]) -> Verification:
    """The energies of Figs. 11 to 13 are the milestones of the paper's text; what they share with Table 4 agrees."""
    drawn = [("figure11", row["L"], row[key]) for row in paper["figure11"]["stages"] for key in ("start", "end")]
    drawn += [("figure12", row["L"], row["energy"]) for row in paper["figure12"]["rows"]]
    drawn += [
        ("figure13", row["L"], row[key])
        for row in paper["figure13"]["rows"]
        for key in ("start", "reached", "end")
        if key in row
    ]
    told = {(row["L"], row["energy"]) for row in milestones}
    failures = [
        f"{figure}: the energy {energy} of L = {L} is no milestone of published.toml"
        for figure, L, energy in drawn
        if (L, energy) not in told
    ]
    final = cells(paper)
    transfers = [row for row in paper["figure13"]["rows"] if row["mode"] == "transfer"]
    failures += [
        f"figure13: transfer to L = {row['L']} ends at {row['end']}, table4 has {final.get((row['L'], 0.5))}"
        for row in transfers
        if row["end"] != final.get((row["L"], 0.5))
    ]
    untold = len(told - {(L, energy) for _, L, energy in drawn})
    return Verification(
        "paper, Figs. 11 to 13",
        "milestones of published.toml, and Table 4",
        len(drawn) + len(transfers),
        (*failures,),
        untold,
        "milestones that stand in the text and in no figure" if untold else "",
    )


def arithmetic(paper: Document) -> Verification:
    """Sums, ratios and products between the paper's own numbers."""
    failures, checked = [], 0

    def demand(holds: bool, text: str) -> None:
        nonlocal checked
        checked += 1
        if not holds:
            failures.append(text)

    share = sum(paper["figure7"]["share_percent"].values())
    demand(math.isclose(share, 100, abs_tol=0.25), f"figure7: the shares add up to {share:.1f} %")

    totals = {(row["parameters"], row["processes"]): row["scalapack_s"] for row in paper["table3"]["rows"]}
    figure9 = paper["figure9"]
    for size in ("medium", "large"):
        series = figure9[size]
        for processes, pdpotrf_s, pdgemm_s in zip(
            series["processes"], series["pdpotrf_s"], series["pdgemm_s"], strict=True
        ):
            total, parts = totals[series["parameters"], processes], pdpotrf_s + pdgemm_s
            text = f"figure9, {size} on {processes} processes: {parts:.2f} s of table3's {total} s"
            demand(0.9 * total <= parts <= total, f"{text}, not 90 to 100 %")

    large = dict(zip(figure9["large"]["processes"], figure9["large"]["pdpotrf_s"], strict=True))
    for processes in (1024, 40000):
        told = figure9["text"][f"large_pdpotrf_{processes}_s"]
        drawn = large[processes]
        demand(abs(told - drawn) <= 0.051, f"figure9: pdpotrf on {processes} processes takes {told} s and {drawn} s")
    parameters = figure9["large"]["parameters"]
    ratio, speedup = totals[parameters, 1024] / totals[parameters, 40000], figure9["text"]["large_total_speedup"]
    demand(abs(ratio - speedup) <= 0.0051, f"figure9: speedup {speedup}, and table3's times give {ratio:.3f}")

    used, most = paper["figure10"]["processes"], paper["table2"]["max_processes"]
    for name, cores, processes in (
        ("figure10, smallest", paper["figure10"]["cores"]["smallest"], used[0]),
        ("figure10, largest", paper["figure10"]["cores"]["largest"], used[-1]),
        ("table2", paper["table2"]["max_cores"], most),
    ):
        demand(
            cores == _CORES_PER_PROCESS * processes,
            f"{name}: {cores} cores are not {_CORES_PER_PROCESS} for each of {processes} processes",
        )
    left = sum(not path.startswith(_CHECKED) for path in numbers(paper))
    return Verification(
        "paper, arithmetic",
        f"Fig. 7 shares = 100 %, Fig. 9 sums and speedup = Table 3, cores = {_CORES_PER_PROCESS} x processes",
        checked,
        (*failures,),
        left,
        "numbers that nothing else in the paper determines",
    )


def networks(models: Document, paper: Document) -> Verification:
    """Parameters counted from the layouts are the published ones; the authors' checkpoint has Table 4's energy."""
    failures, published = [], paper["table1"]["parameters"]
    counts = {model["name"]: _parameters(model["blocks"]) for model in models["model"]}
    for model in models["model"]:
        name = model["name"]
        if not counts[name] == model["parameters"] == published.get(name):
            failures.append(
                f"model {name}: the blocks have {counts[name]} parameters, models.toml has {model['parameters']}, "
                f"table1 has {published.get(name)}"
            )
    failures += [
        f"table2: no model has {parameters} parameters"
        for parameters in paper["table2"]["parameters"]
        if parameters not in counts.values()
    ]
    checkpoint = models["checkpoint"]
    printed = cells(paper).get((checkpoint["L"], checkpoint["J2"]), math.nan)
    if not abs(checkpoint["published_energy"] - printed) < 1e-5:  # one unit, as Table 4 truncates this one
        failures.append(f"checkpoint: energy {checkpoint['published_energy']}, and table4 has {printed}")
    facts = sum(1 for _ in numbers(models["training_of_the_authors"]))
    return Verification(
        "networks",
        "parameters counted from the blocks = models.toml = Table 1 (and Table 2); checkpoint's energy = Table 4",
        len(counts) + len(paper["table2"]["parameters"]) + 1,
        (*failures,),
        facts,
        "numbers of how the authors trained",
    )


def numbers(value: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all numbers in nested dictionaries and lists."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from numbers(item, f"{path}.{position}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


def cells(paper: Document) -> dict[tuple[int, float], float]:
    """Energies of Table 4 by (L, J2)."""
    table = paper["table4"]
    return {
        (row["L"], J2): energy for row in table["rows"] for J2, energy in zip(table["J2"], row["energy"], strict=True)
    }


def _parameters(blocks: Sequence[Document]) -> int:
    """Weights and biases of all convolutions and transposed convolutions (width 2)."""
    channels, total = 1, 0
    for block in blocks:
        total += channels * block["conv"] * block["kernel"] ** 2 + block["conv"]
        total += block["conv"] * block["deconv"] * 2 + block["deconv"]
        channels = block["deconv"]
    return total
