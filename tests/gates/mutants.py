"""Every mutant against the gate that must see it, and correct code in other forms, which no gate may fail.

``python tests/gates/mutants.py --out DIR`` writes records and a page; stopped at any point, it goes on from there. No
unit test is part of it: what catches a mutant is a shipped gate alone.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import mutants, mutants_engine, mutants_statistical

from qmcbench import hamiltonian, local_energy, provenance
from qmcbench.ansatz import derivatives
from qmcbench.ansatz.base import Ansatz, amplitudes, invariance
from qmcbench.config import Wavefunction
from qmcbench.files import make_folder
from qmcbench.gates.check import Check, Verdict, worst
from qmcbench.gates.run import Plan, outcomes
from qmcbench.gates.targets.builtin import builtin
from qmcbench.gates.targets.target import Target
from qmcbench.progress import Bar
from qmcbench.report.book import report
from qmcbench.store import jsonl
from qmcbench.store.gates import Mutant, Variant
from qmcbench.store.records import Record, Run
from qmcbench.vmc import build_ansatz

RECORDS = "mutants"
PLANTED = (mutants.MUTANTS, mutants_engine.MUTANTS, mutants_statistical.MUTANTS)
MUTANTS = {name: mutant for each in PLANTED for name, mutant in each.items()}
assert len(MUTANTS) == sum(map(len, PLANTED)), "two mutants of one name"

VARIANTS = 100
FORMS = tuple((dtype, symmetry) for dtype in ("float64", "float32") for symmetry in ("none", "C4", "full"))
THREADS = (1, 2, 4)
BUFFERS = (2048, 64, 333)
CHUNKS = (256, 5)
# Gates that depend on the form of the wave function, on buffers, chunks and threads; those that depend on the seed
# alone are calibrated with 1000 of them.
GATES = (
    "hamiltonian/magnons", "ansatz/*", "derivatives/*", "local_energy/*", "optimiser/dense-algebra",
    "optimiser/single-precision", "optimiser/complex-rows", "optimiser/fixed-point", "optimiser/solvers",
    "sampler/exact-kernel", "sampler/detailed-balance", "sampler/acceptance", "sampler/seeds",
    "estimator/samples-used", "estimator/v-score",
)  # fmt: skip


@dataclass(frozen=True)
class Sizes:
    """Sizes that change nothing but the order of the work."""

    buffer: int
    chunk: int

    def local_energies(self, psi: Ansatz, L: int, J2: float, spins: Tensor) -> Tensor:
        """The engine's, in buffers of this size."""
        with torch.no_grad():
            log_psi, phase = amplitudes(psi, spins)
        model = hamiltonian.J1J2(L, J2)
        return local_energy.local_energies(psi, model, spins, log_psi, phase, buffer=self.buffer)

    def log_derivatives(self, psi: Ansatz, spins: Tensor) -> Tensor:
        """The engine's, in chunks of this size."""
        return derivatives.log_derivatives(psi, spins, chunk=self.chunk)


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


def correct(seed: int) -> Variant:
    """What gates say of correct code in one form; the seed says which."""
    dtype, symmetry = FORMS[seed % len(FORMS)]
    threads = THREADS[seed // len(FORMS) % len(THREADS)]
    sizes = Sizes(BUFFERS[seed // 2 % len(BUFFERS)], CHUNKS[seed // 3 % len(CHUNKS)])
    psi = build_ansatz(Wavefunction(network="small", dtype=dtype, symmetry=symmetry), seed=seed)
    # Bounds of the engine's own form are those of float64.
    target: Target = replace(
        builtin(), psi=psi, invariance=invariance(psi), engine=dtype == "float64",
        local_energies=sizes.local_energies, log_derivatives=sizes.log_derivatives,
    )  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        began = time.perf_counter()
        done = list(outcomes(target, Plan(only=GATES, quick=True, seed=seed)))
    finally:
        torch.set_num_threads(before)
    checks: list[Check] = [check for outcome in done for check in outcome.checks]
    by = {verdict: tuple(check.name for check in checks if check.verdict is verdict) for verdict in Verdict}
    return Variant(
        value=time.perf_counter() - began,
        variant=f"{dtype}, {symmetry}, buffers of {sizes.buffer}, chunks of {sizes.chunk}",
        seed=seed,
        threads=threads,
        gates=sum(outcome.skipped is None for outcome in done),
        checks=len(checks) - len(by[Verdict.NOT_MEASURED]),
        failed=by[Verdict.FAIL],
        undecided=by[Verdict.INCONCLUSIVE],
    )


def missing(run: Run, variants: int) -> Iterator[tuple[str, Callable[[], Record]]]:
    """What is still to be done, with its name."""
    done = {each.mutant for each in run.of(Mutant)}
    yield from ((name, partial(tried, name)) for name in MUTANTS if name not in done)
    seeds = {each.seed for each in run.of(Variant)}
    yield from ((f"seed {seed}", partial(correct, seed)) for seed in range(variants) if seed not in seeds)


def main() -> int:
    """Try all that is not in the folder; the exit status says whether all were caught and nothing else failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the records and the page")
    parser.add_argument("--variants", type=int, default=VARIANTS, help="of correct code")
    given = parser.parse_args()
    out: Path = given.out
    make_folder(out)
    run = jsonl.load(out, RECORDS) or Run(
        job="gate mutants", provenance=provenance.collect(shlex.join(["python", *sys.argv])), seconds=0.0
    )
    with Bar("mutants and correct code", len(MUTANTS) + given.variants, len(run.records)) as bar:
        for name, work in missing(run, given.variants):
            began = time.perf_counter()
            record = work()
            seconds = (run.seconds or 0.0) + time.perf_counter() - began
            run = replace(run, records=(*run.records, record), seconds=seconds)
            jsonl.save(out, RECORDS, run)
            bar.update(len(run.records), name)
    report([out], out)
    missed = [each.mutant for each in run.of(Mutant) if each.verdict != Verdict.FAIL]
    wrong = [f"{each.variant}, seed {each.seed}: {', '.join(each.failed)}" for each in run.of(Variant) if each.failed]
    print(f"{len(MUTANTS) - len(missed)} of {len(MUTANTS)} mutants caught", *missed, sep="\n")
    print(f"{len(wrong)} of {len(run.of(Variant))} variants of correct code failed", *wrong, sep="\n")
    return bool(missed or wrong)


if __name__ == "__main__":
    sys.exit(main())
