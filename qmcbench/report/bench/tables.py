"""Tables of a benchmark report: one function for each part of it but the peers."""

from __future__ import annotations

from qmcbench.bench.claims import GIB
from qmcbench.bench.operations import FORWARD, OPERATIONS
from qmcbench.reference import paper
from qmcbench.report.document import Cell, Row, Table
from qmcbench.report.figure import Result
from qmcbench.report.numbers import DASH, count, duration, fixed, number, percent

OTHERS = {"max_pool": "MaxPool", "deconv": "Conv1DBackpropInput", "bias": "Add"}
"""What the paper's Fig. 8 calls the operations other than the convolution."""


def spread(low: float, high: float) -> str:
    """The least and the largest of repeated times."""
    return f"{duration(low)}..{duration(high)}"


def settings(values: Result) -> str:
    """Names and values in a few words."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values.items())


def lattice(row: Result) -> str:
    """Network and lattice."""
    return f"{row['network']}, {row['L']}x{row['L']}"


def phase_name(row: Result) -> str:
    """A phase of the limits, with its solver if it is one."""
    return str(row["phase"]).replace("_", " ") + (f" ({row['solver']})" if row.get("solver") else "")


def plain_of(forwards: list[Result], row: Result) -> Result | None:
    """The plain module's time of the same pass on as many cores."""
    same = ("network", "L", "batch", "cores")
    found = (each for each in forwards if each["form"] == "plain" and all(each[key] == row[key] for key in same))
    return next(found, None)


def hotpath(results: Result) -> list[Table]:
    """The forward pass in its forms, the steps that made it faster, samples per second, and the derivatives."""
    rows: list[Row] = []
    for row in results["forward"]:
        plain = plain_of(results["forward"], row)
        rows.append([
            lattice(row), count(row["batch"]), row["form"], count(row["cores"]), duration(row["median_s"]),
            spread(row["min_s"], row["max_s"]), count(row["repeats"]), number(row["GFs"]),
            fixed(row["fraction_of_sgemm"], 2), fixed(plain["median_s"] / row["median_s"] if plain else None, 2),
        ])  # fmt: skip
    columns = [
        "network", ">batch", "form", ">cores", ">median", ">min..max", ">repeats", ">GF/s", ">of sgemm",
        ">times as fast as plain",
    ]  # fmt: skip
    caption = (
        "One forward pass of a batch, float32. Plain: PyTorch's own operations, one after another; scalar: plain "
        "loops on one core; fused and fourier: this package's. GF/s: the network's fused multiply-adds, of which "
        "Fourier space needs a fraction (so rates above sgemm's are no mistake), counted as two "
        f"operations each, over the median time; sgemm, by the same library: {number(results['sgemm_GFs'])} GF/s on "
        f"{results['threads']} threads."
    )
    steps: list[Row] = [
        [
            step["step"], step["workload"], duration(step["before_s"]), duration(step["after_s"]),
            fixed(step["predicted"], 2), fixed(step["measured"], 2), step["remark"],
        ]
        for step in results["steps"]
    ]  # fmt: skip
    titles = ["step", "workload", ">before", ">after", ">predicted", ">measured", "remark"]
    said = (
        "How many times as fast each change was predicted to make the workload, and made it: the median of the "
        "ratios, turn by turn, and not the ratio of the median times before and after. A dash: not predicted."
    )
    return [
        Table("Forward pass", columns, rows, caption),
        Table("Steps", titles, steps, said),
        _rates(results["samples_per_second"]),
        _derivatives(results["derivatives"]),
    ]


def _rates(found: list[Result]) -> Table:
    rows: list[Row] = [
        [
            lattice(row), row["symmetry"], row.get("weights", DASH), count(row["chains"]), count(row["proposals"]),
            number(row["per_second"]), f"{number(row['min'])}..{number(row['max'])}", count(row["repeats"]),
            percent(row.get("acceptance")), row.get("remark", ""),
        ]
        for row in found
    ]  # fmt: skip
    columns = [
        "network", "symmetry", "weights", ">chains", ">proposals", ">samples/s", ">min..max", ">repeats",
        ">acceptance", "remark",
    ]  # fmt: skip
    caption = (
        "Samples of all chains a second, each after so many proposals. Medians and range of the repeats. C4: the "
        "amplitudes of all four rotations are computed."
    )
    return Table("Samples per second", columns, rows, caption)


def _derivatives(found: Result) -> Table:
    row: Row = [
        lattice(found), count(found["samples"]), duration(found["derivatives_s"]), duration(found["solve_s"]),
        f"{number(found['peak_bytes'] / GIB)} GiB", f"{number(found['before_bytes'] / GIB)} GiB",
        count(found["repeats"]),
    ]  # fmt: skip
    columns = ["network", ">samples", ">log-derivatives", ">step", ">peak memory", ">held before", ">repeats"]
    caption = (
        "Log-derivatives of all samples and the stochastic-reconfiguration step in sample space: medians of the "
        "seconds, and the most memory that the process held, with what it held before."
    )
    return Table("Log-derivatives and step", columns, [row], caption)


RATES = {
    "sgemm_GFs": ("matrix product, float32 (sgemm)", "GF/s", "gemm"),
    "dgemm_GFs": ("matrix product, float64 (dgemm)", "GF/s", "gemm"),
    "bf16_GFs": ("matrix product, bfloat16", "GF/s", "bf16"),
    "copy_GBs": ("copy, read and write counted", "GB/s", "copy_bytes"),
}
"""Rates of the machine: title, unit, and the name of the size that they were measured with."""


def limits(results: Result) -> list[Table]:
    """The machine's rates, and what each phase reaches of them."""
    sizes = results["sizes"]
    rates: list[Row] = []
    for name, (title, unit, size) in RATES.items():
        of = sizes.get(size)
        text = (
            DASH
            if of is None
            else f"{number(of / 1e6, 4)} MB"
            if size == "copy_bytes"
            else f"{count(of)} x {count(of)}"
        )
        rates.append([title, f"{number(results['rates'][name])} {unit}", text])
    rows: list[Row] = [
        [
            phase_name(row), lattice(row), count(row["samples"]), row["dtype"],
            duration(row["median_s"]), spread(row["min_s"], row["max_s"]), count(row["repeats"]),
            number(row["flops"] / 1e9, 4), number(row["bytes"] / 1e6, 4), number(row["intensity"], 4),
            number(row["GFs"]), number(row["attainable_GFs"]), percent(row["fraction"]), row["bound"],
        ]
        for row in results["phases"]
    ]  # fmt: skip
    columns = [
        "phase", "network", ">samples", "type", ">median", ">min..max", ">repeats", ">GF", ">MB", ">flop/byte",
        ">GF/s", ">attainable GF/s", ">reached", "bound by",
    ]  # fmt: skip
    fastest = f"The fastest of several repeats on all cores (threads: {results['threads']})."
    caption = (
        "GF: billions of floating-point operations of the algorithm, fused multiply-adds counted as two; of psi its "
        "products in Fourier space, without the transforms. MB: compulsory traffic, every input read once and every "
        "output written once; "
        "intermediate results are not counted. Attainable: the smaller of the matrix product's rate and of the "
        "copy's times flop/byte. Times are medians."
    )
    return [
        Table("Rates of this machine", ["what", ">rate", ">size"], rates, fastest),
        Table("Phases", columns, rows, caption),
    ]


def systems(rows: list[Result]) -> dict[tuple[str, int], list[Result]]:
    """Rows of each network and L, in their order."""
    found: dict[tuple[str, int], list[Result]] = {}
    for row in rows:
        found.setdefault((row["network"], row["L"]), []).append(row)
    return found


def speedup(rows: list[Result]) -> list[Table]:
    """Times and speedups at the largest batch of each system, with the paper's where it states one."""
    shown: list[Row] = []
    for own in systems(rows).values():
        largest = max(row["batch"] for row in own)
        for row in own:
            if row["batch"] == largest:
                shown.append([
                    lattice(row), count(largest), row["operation"].replace("_", " "), duration(row["scalar_s"]),
                    duration(row["one_core_s"]), duration(row["all_cores_s"]), count(row["cores"]),
                    number(row["scalar_s"] / row["one_core_s"]), number(row["speedup"]), stated(row),
                ])  # fmt: skip
    columns = [
        "network", ">batch", "operation", ">scalar", ">one core", ">all cores", ">cores", ">speedup of one core",
        ">of all cores", ">paper states",
    ]  # fmt: skip
    caption = (
        "The largest batch of each system: the plain network in scalar loops on one core, one configuration at a "
        "time (the paper's baseline), over PyTorch's operations on one core and on all; forward: the package's "
        "forward pass. Medians. The paper's speedups (Fig. 8 and its text) are of 64 compute cores of an SW26010Pro "
        "processor over its one management core: another machine with many more cores, so they show what its "
        "baseline means and are no bound for these."
    )
    return [Table("Largest batches", columns, shown, caption)]


def stated(row: Result) -> str:
    """The speedup that the paper states of this operation and system, or a dash."""
    found = paper.figure8
    # What it calls small there has 16249 parameters, as our medium network.
    network = {"medium": "small", "small": ""}.get(row["network"], row["network"])
    if f"{network}-{row['L']}" not in found["series"]:
        return DASH
    if row["operation"] == "conv2d" and network == "large":
        saturated = found["saturated_speedup"]
        return number(saturated.get(f"large_{row['L']}", saturated["large"]))
    return number(found["other_operations"].get(OTHERS.get(row["operation"], "")))


def hotspots(results: Result) -> list[Table]:
    """Shares of a forward pass, plain and fused, beside the paper's."""
    plain, fused = results["plain"], results["fused"]
    printed = paper_shares()
    names = dict.fromkeys([*plain["share_percent"], *fused["share_percent"], *printed])
    rows: list[Row] = [
        [name.replace("_", " "), *(fixed(each.get(name), 1) for each in shares)]
        for name in names
        for shares in [(plain["share_percent"], fused["share_percent"], printed)]
    ]
    rows.append([f"seconds of a {FORWARD} pass", duration(plain["seconds"]), duration(fused["seconds"]), DASH])
    columns = ["operation", ">plain, %", ">fused, %", ">paper, %"]
    caption = (
        f"Share of the time of a forward pass of {lattice(results)}, batch {count(results['batch'])}, on one core, "
        f"by torch.profiler over {results['repeats']} repeats. Other: what lies between the operations. The paper's "
        "(Fig. 7): large, 10x10, on the management core alone; its Other contains pad and product."
    )
    return [Table("Shares of a forward pass", columns, rows, caption)]


def paper_shares() -> dict[str, float]:
    """The paper's Fig. 7 by our names of the operations."""
    names = {theirs: ours for ours, theirs in OPERATIONS.items()} | {"Other": "other"}
    return {names[label]: share for label, share in paper.figure7["share_percent"].items()}


def growth(results: Result) -> list[Table]:
    """Fitted and expected exponents."""
    rows: list[Row] = []
    for curve in results["curves"]:
        rows.append([
            curve["quantity"], curve["what"].replace("_", " "), curve["variable"], settings(curve["fixed"]),
            _exponent(curve), number(curve["expected"]), number(curve["fitted_from"]),
            _points(curve), curve["why"],
        ])  # fmt: skip
    columns = [
        "of", "what", "against", "fixed", ">exponent", ">expected", ">fitted from", "points", "why",
    ]  # fmt: skip
    caption = (
        "Slopes of straight lines through the logarithms of the medians, from the size fitted from on, ± their "
        f"standard error. Points: the smallest and the largest. Threads: {results['threads']}."
    )
    return [Table("Exponents", columns, rows, caption)]


def _exponent(curve: Result) -> str:
    error = curve["exponent_error"]
    return fixed(curve["exponent"], 2) + ("" if error is None else f" ± {fixed(error, 2)}")


def _points(curve: Result) -> str:
    one = duration if curve["quantity"] == "seconds" else lambda value: f"{number(value / 1e6)} MB"
    ends = [curve["points"][0], curve["points"][-1]] if curve["points"] else []
    ends = ends[: len(curve["points"])]
    return " to ".join(f"{one(point['median'])} at {number(point['x'], 6)}" for point in ends)


def device(results: Result) -> list[Table]:
    """The large network on one device."""
    rows: list[Row] = [
        [
            lattice(row), count(row["batch"]), duration(row["forward_s"]), number(row["GFs"], 6),
            fixed(row["fraction_of_sgemm"], 2), count(row["chains"]), number(row["samples_per_second"]),
            duration(row["iteration_s"]),
            DASH if row["peak_bytes"] is None else f"{number(row['peak_bytes'] / GIB)} GiB",
        ]
        for row in results["rows"]
    ]  # fmt: skip
    columns = [
        "network", ">batch", ">forward", ">GF/s", ">of sgemm", ">chains", ">samples/s with C4", ">iteration",
        ">peak memory",
    ]  # fmt: skip
    caption = (
        f"{results['name']} ({results['device']}), float32 as PyTorch is set; sgemm "
        f"{number(results['sgemm_GFs'], 6)} GF/s. Forward: no symmetry. Samples: a sweep of L x L proposals and a "
        f"local energy each. Iteration: no symmetry, a sample of each chain. Medians of {results['repeats']} repeats."
    )
    return [Table("The large network", columns, rows, caption)]


def suite(rows: list[Result]) -> list[Table]:
    """Medians and quartiles of each benchmark, one column for each value of its last parameter; what was not run."""
    tables = []
    for name in dict.fromkeys(row["benchmark"] for row in rows):
        timed = [row for row in rows if row["benchmark"] == name and "median" in row]
        if timed:
            tables.append(_benchmark(name, timed))
    missing: list[Row] = []
    for row in rows:
        if "median" not in row:
            failed = row.get("not_run") != "skipped"
            why: str | Cell = Cell("failed", "bad") if failed else "it does not fit this machine's memory or cores"
            missing.append([row["benchmark"], settings(row["parameters"]), why])
    return [*tables, Table("Not run", ["benchmark", "parameters", "why"], missing)]


def _benchmark(name: str, rows: list[Result]) -> Table:
    names = list(rows[0]["parameters"])
    last = names[-1] if names else ""
    values = list(dict.fromkeys(row["parameters"].get(last, "") for row in rows))
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        key = tuple(row["parameters"][each] for each in names[:-1])
        lines.setdefault(key, {})[row["parameters"].get(last, "")] = _quartiles(row)
    shown: list[Row] = [[*key, *(cells.get(value, DASH) for value in values)] for key, cells in lines.items()]
    columns = [*names[:-1], *(f">{last} {value}".strip() for value in values)]
    caption = "Medians (first..third quartile) of what asv repeated; a dash: not run. The newest results of asv."
    return Table(name, columns, shown, caption)


def _quartiles(row: Result) -> str:
    one = duration if row["unit"] == "seconds" else lambda value: f"{number(value / 2**20)} MiB"
    ends = [row.get(key) for key in ("q25", "q75")]
    return one(row["median"]) + (f" ({one(ends[0])}..{one(ends[1])})" if None not in ends else "")


def provenance(parts: dict[str, Result]) -> Table:
    """Where each part comes from."""
    rows: list[Row] = []
    for name, part in parts.items():
        origin = part["provenance"]
        machine = origin["machine"]
        versions = {"Python": origin["python"], **origin["versions"]}
        host = (
            machine["cpu"],
            f"{machine['cores']} cores",
            f"{number(machine['memory_GiB'])} GiB",
            machine["system"],
        )
        rows.append([
            name, "quick" if part["quick"] else "full", Cell(origin["command"], "code"), origin["date"],
            ", ".join(host), machine["gpu"] or "none", str(machine["torch_threads"]),
            ", ".join(f"{package} {version}" for package, version in versions.items() if version),
        ])  # fmt: skip
    columns = ["part", "sizes", "command", "date", "machine", "GPU", ">torch threads", "versions"]
    caption = (
        "Each part is measured by itself. peers: the threads of the comparison, which its table gives, and not those "
        "of torch here, are what counted."
    )
    return Table("What these numbers were made with", columns, rows, caption)
