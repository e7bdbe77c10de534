"""Every mutant against the gate that must see it, and a page: ``python tests/gates/mutants.py --out DIR``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import mutants, mutants_engine, mutants_statistical

from qmcbench import provenance
from qmcbench.files import make_folder
from qmcbench.gates.check import Verdict, worst
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin
from qmcbench.progress import Bar
from qmcbench.report.book import report
from qmcbench.store import jsonl
from qmcbench.store.gates import Mutant
from qmcbench.store.records import Run

MUTANTS = mutants.MUTANTS | mutants_engine.MUTANTS | mutants_statistical.MUTANTS


def tried(name: str) -> Mutant:
    """What the gate says with the bug planted."""
    plant, gate = MUTANTS[name]
    began = time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        [outcome] = outcomes(builtin(), Plan(only=[gate], quick=True))
    check = worst(outcome.checks)
    return Mutant(
        value=time.perf_counter() - began,
        mutant=name,
        gate=gate,
        check=check.name,
        verdict=str(check.verdict),
        samples=check.samples,
    )


def main() -> int:
    """Try all of them; the exit status says whether all were caught."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the records and the page")
    out: Path = parser.parse_args().out
    make_folder(out)
    began, found = time.perf_counter(), []
    with Bar("mutants", len(MUTANTS)) as bar:
        for name in MUTANTS:
            found.append(tried(name))
            bar.update(len(found), name)
    made = provenance.collect(shlex.join(["python", *sys.argv]))
    run = Run(job="gate mutants", provenance=made, records=tuple(found), seconds=time.perf_counter() - began)
    jsonl.save(out, "mutants", run)
    report([out], out)
    missed = [each for each in found if each.verdict != Verdict.FAIL]
    print(f"{len(found) - len(missed)} of {len(found)} mutants caught", *(each.mutant for each in missed), sep="\n")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
