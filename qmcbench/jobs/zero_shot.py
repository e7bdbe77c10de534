"""One trained network on other lattices and couplings, without retraining (``qmcbench zero-shot``).

The network has as many outputs as there are sites, so the same parameters are a wave function on every even lattice:
what transfer learning starts from, held against exact and published energies.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path
from typing import Any

from qmcbench import checkpoint, provenance, reference
from qmcbench.config import Sampling
from qmcbench.errors import UserError
from qmcbench.evaluation import check_settings, evaluate
from qmcbench.files import make_folder
from qmcbench.gates.checks import Check, agreement, variational
from qmcbench.reference.schemas import document
from qmcbench.reference.verify_paper import cells
from qmcbench.report.zero_shot.pages import write_report
from qmcbench.statistics import Estimate

SIZES = (6, 8, 10, 12, 14, 16, 18, 24)
COUPLINGS = (0.44, 0.46, 0.48, 0.5, 0.55, 0.6)


def zero_shot(
    path: Path,
    out: Path,
    *,
    sizes: Sequence[int] = SIZES,
    couplings: Sequence[float] = COUPLINGS,
    samples: int = 1024,
    chains: int = 32,
    warm_up: int = 10,
    seed: int = 0,
    restart: bool = False,
    quiet: bool = False,
    command: str = "qmcbench.jobs.zero_shot.zero_shot",
) -> dict[str, Any]:
    """Evaluate the network at every size and coupling and write a report; finished sizes are kept.

    Parameters
    ----------
    path
        Checkpoint.
    out
        Folder for the report and, under ``runs``, the evaluations.
    sizes, couplings
        Even L, and J2; all couplings share the samples of a lattice.
    samples
        On the lattice that the network was trained for. Others get ``samples * (trained L / L)^2``, which makes for
        about the same error of the energy per site, and at least two for each chain.
    chains, warm_up, seed
        As in :class:`qmcbench.config.Sampling`; chains follow |psi|^2.
    restart
        Discard evaluations that are there.
    quiet
        No progress on standard error.
    command
        For the provenance.

    Returns
    -------
    dict
        The results, as in ``results.json``.

    Raises
    ------
    UserError
        If a setting is out of range, or a file cannot be read or written.
    Interrupted
        After a signal; the same call continues.
    """
    if not sizes or not couplings:
        raise UserError("Neither a size nor a coupling is left to evaluate; give at least one of each.")
    if samples < 1:
        raise UserError(f"samples = {samples} is less than 1; ask for a few hundred.")
    couplings = tuple(dict.fromkeys(couplings))
    sampling = Sampling(chains=chains, warm_up=warm_up, alpha=2.0)
    for L, J2 in product(sizes, couplings):
        check_settings(L, J2, sampling, seed, "cpu")
    trained = checkpoint.read(path).config["model"]
    make_folder(out)
    began = time.perf_counter()
    results: dict[str, Any] = {
        "trained_for": trained,
        "J2": list(couplings),
        "seed": seed,
        "provenance": provenance.collect(command),
        "evaluations": [],
    }
    for L in sorted(set(sizes)):
        result, _ = evaluate(
            path,
            out / "runs" / f"{L}x{L}",
            L=L,
            J2=couplings,
            samples=max(2 * chains, round(samples * (trained["L"] / L) ** 2)),
            sampling=sampling,
            seed=seed,
            observables="spins" if trained["L"] == L else "none",
            restart=restart,
            quiet=quiet,
            command=command,
        )
        results["evaluations"].append(result)
    results["checks"] = [{**asdict(check), "passed": check.passed} for check in _checks(results)]
    results["comparisons"] = _comparisons(results)
    results["seconds"] = time.perf_counter() - began
    write_report(results, out)
    return results


def _checks(results: dict[str, Any]) -> list[Check]:
    """No energy below an exact one, and the authors' own (windowed) value where the network is theirs."""
    found = []
    for evaluation in results["evaluations"]:
        L = evaluation["L"]
        published = evaluation["checkpoint"]["imported"] or {}
        for row in evaluation["estimates"]:
            estimate = Estimate(**{name: row[name] for name in Estimate.__dataclass_fields__})
            if row["reference"]:
                found.append(variational(f"{L}x{L} J2={row['J2']:g}", estimate, row["reference"]["energy"]))
            windowed = row["windowed_biased"]
            if windowed and "published_energy" in published and (published["L"], published["J2"]) == (L, row["J2"]):
                same = replace(estimate, mean=windowed["energy"], error=windowed["error"])
                found.append(agreement(f"{L}x{L} J2={row['J2']:g}", same, published["published_energy"]))
    return found


def _comparisons(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Each energy beside the seed paper's (Table 4) and the best one published."""
    paper = cells(document("paper"))
    rows = []
    for evaluation in results["evaluations"]:
        for estimate in evaluation["estimates"]:
            L, J2 = evaluation["L"], estimate["J2"]
            rows.append(
                {
                    "L": L,
                    "J2": J2,
                    "energy": estimate["energy"],
                    "error": estimate["error"],
                    "paper": paper.get((L, J2)),
                    "best": _best(L, J2),
                }
            )
    return rows


def _best(L: int, J2: float) -> dict[str, Any] | None:
    """The best reference energy: exact, else the best published one; None if there is none."""
    if known := reference.known_energy(L, J2):
        return {"energy": known[0], "kind": "exact", "source": known[1]}
    try:
        row = reference.best(L, J2)
    except reference.ReferenceLayerError:
        return None
    return {"energy": row.energy, "kind": row.kind, "source": f"{row.cite}; {row.method}"}
