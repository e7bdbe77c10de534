"""What ``qmcbench bench`` prints of each part; the report has more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tabulate import tabulate

Result = dict[str, Any]


def limits(found: Result) -> str:
    """Rates of the machine, and each phase as a fraction of what they allow."""
    rates = ", ".join(
        f"{name.replace('_GFs', ' GF/s').replace('_GBs', ' GB/s')} {value:.4g}"
        for name, value in found["rates"].items()
        if value is not None
    )
    rows = [
        [
            row["phase"],
            _lattice(row),
            row["samples"],
            f"{row['median_s']:.3g}",
            f"{row['GFs']:.3g}",
            f"{row['attainable_GFs']:.3g}",
            f"{row['fraction']:.2f}",
            row["bound"],
        ]
        for row in found["phases"]
    ]
    headers = ["phase", "system", "samples", "median s", "GF/s", "attainable", "fraction", "bound by"]
    return _table(f"{found['threads']} threads: {rates}", rows, headers)


def device(found: Result) -> str:
    """Forward pass, sampling and iteration of each system."""
    rows = [
        [
            _lattice(row),
            row["batch"],
            f"{row['GFs']:.4g}",
            f"{row['fraction_of_sgemm']:.2f}",
            row["chains"],
            f"{row['samples_per_second']:.3g}",
            f"{row['iteration_s']:.3g}",
        ]
        for row in found["rows"]
    ]
    headers = ["system", "batch", "forward GF/s", "of sgemm", "chains", "samples/s (C4)", "iteration s"]
    return _table(f"{found['name']}: sgemm {found['sgemm_GFs']:.4g} GF/s", rows, headers)


def hotpath(found: Result) -> str:
    """Forms of the forward pass, what each step brought, and the two rates beside."""
    forms = [
        [
            _lattice(row),
            row["batch"],
            row["form"],
            row["cores"],
            f"{row['median_s']:.3g}",
            f"{row['GFs']:.3g}",
            f"{row['fraction_of_sgemm']:.2f}",
        ]
        for row in found["forward"]
    ]
    steps = [
        [
            row["step"],
            row["workload"],
            f"{row['before_s']:.3g}",
            f"{row['after_s']:.3g}",
            "" if row["predicted"] is None else f"{row['predicted']:.2f}",
            f"{row['measured']:.2f}",
        ]
        for row in found["steps"]
    ]
    rates = [
        [_lattice(row), row["symmetry"], row["weights"], row["chains"], row["proposals"], f"{row['per_second']:.3g}"]
        for row in found["samples_per_second"]
    ]
    own = found["derivatives"]
    return "\n".join(
        [
            _table(
                f"forward pass; sgemm {found['sgemm_GFs']:.4g} GF/s on {found['threads']} threads",
                forms,
                ["system", "batch", "form", "cores", "median s", "GF/s", "of sgemm"],
            ),
            _table("times as fast", steps, ["step", "workload", "before s", "after s", "predicted", "measured"]),
            _table("energies", rates, ["system", "symmetry", "weights", "chains", "proposals a sample", "samples/s"]),
            f"{own['samples']} samples of {_lattice(own)}: derivatives {own['derivatives_s']:.3g} s, solve "
            f"{own['solve_s']:.3g} s, memory {own['peak_bytes'] / 2**20:.0f} MiB at most "
            f"({own['before_bytes'] / 2**20:.0f} before)\n",
        ]
    )


def hotspots(found: Result) -> str:
    """Share of each operation, before and after fusion, and in the paper."""
    from qmcbench.bench.operations import OPERATIONS
    from qmcbench.reference import paper

    forms = [found["plain"], found["fused"]]
    labels = OPERATIONS | {"other": "Other"}
    names = dict.fromkeys(name for form in forms for name in form["share_percent"])
    rows = [
        [
            name,
            *(f"{form['share_percent'][name]:.1f}" if name in form["share_percent"] else "" for form in forms),
            str(paper.figure7["share_percent"].get(labels.get(name), "")),
        ]
        for name in names
    ]
    rows.append(["seconds", *(f"{form['seconds']:.3g}" for form in forms), ""])
    title = f"share of a forward pass, {_lattice(found)}, batch {found['batch']}, one core"
    note = "paper: large, 10x10; its Other includes pad and product\n"
    return _table(title, rows, ["operation", "plain %", "fused %", "paper %"]) + note


def speedup(found: list[Result]) -> str:
    """The convolutions, and the whole pass."""
    rows = [
        [
            _lattice(row),
            row["batch"],
            row["operation"],
            *(f"{row[name]:.3g}" for name in ("scalar_s", "one_core_s", "all_cores_s")),
            f"{row['scalar_s'] / row['one_core_s']:.1f}",
            f"{row['speedup']:.1f}",
        ]
        for row in found
        if row["operation"] in ("conv2d", "forward")
    ]
    headers = ["system", "batch", "operation", "scalar s", "one core s", "all cores s", "speedup of one", "of all"]
    return _table("convolutions by PyTorch and the package's forward pass, over one scalar core", rows, headers)


def growth(found: Result) -> str:
    """The exponent of every curve beside the expected one."""
    rows = [
        [
            curve["what"],
            curve["quantity"],
            f"{curve['variable']} {curve['points'][0]['x']} to {curve['points'][-1]['x']}",
            ", ".join(f"{name} {value}" for name, value in curve["fixed"].items()),
            f"{curve['expected']:.2f}",
            _exponent(curve),
        ]
        for curve in found["curves"]
    ]
    headers = ["of", "quantity", "against", "at", "expected", "exponent"]
    return _table(f"growth as a power, {found['threads']} threads", rows, headers)


def suite(found: list[Result]) -> str:
    """The median of every benchmark, or why there is none."""
    rows = [
        [
            row["benchmark"],
            ", ".join(f"{name} {value}" for name, value in row["parameters"].items()),
            f"{row['median']:.3g} {row['unit']}" if "median" in row else row["not_run"],
        ]
        for row in found
    ]
    return _table("asv suite", rows, ["benchmark", "parameters", "median"])


def _exponent(curve: Result) -> str:
    error = curve["exponent_error"]
    return f"{curve['exponent']:.2f}" + ("" if error is None else f" +- {error:.2f}")


def _lattice(row: Result) -> str:
    return row["network"] if row["L"] is None else f"{row['network']} {row['L']}x{row['L']}"


def _table(title: str, rows: Iterable[Sequence[Any]], headers: list[str]) -> str:
    return f"{title}\n{tabulate(rows, headers, disable_numparse=True)}\n"
