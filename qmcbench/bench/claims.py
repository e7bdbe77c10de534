"""What benchmarks claim: each claim with its value and bound, from the records of the parts; torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from qmcbench.bench.names import FORWARD, FOURIER, FUSED, ITERATION, OURS, PEERS, PLAIN
from qmcbench.bench.peers import sides
from qmcbench.bench.roofline import of_sgemm, rates
from qmcbench.gates.check import Check
from qmcbench.store.bench import Growth, Memory, SamplingRate, WorkTime
from qmcbench.store.records import R, Run

FORMS = (FUSED, FOURIER)
"""The package's own ways of a forward pass, the fastest of which counts."""
PEER_BOUND, PEER_AIM = 3.0, 10.0
FORWARD_OF_SGEMM, TIMES_PLAIN, SAMPLES_PER_SECOND, SAMPLES_AIM, MEMORY_GIB = 0.6, 1.7, 5.0, 16.0, 4.0
GIB = 2**30
WITHIN = 0.35
"""How far a growth exponent may be from the expected one."""
QUICK = "only at quick sizes, which decide nothing"
ABSENT = "no record decides it"
Parts = Mapping[str, Run]
"""The runs of ``qmcbench bench`` by the names of their parts."""


@dataclass(frozen=True)
class Fastest:
    """The fastest own form of a forward pass on all cores, with what it is held against, if that is known."""

    own: WorkTime
    plain: WorkTime | None
    of_sgemm: float | None


def checks(parts: Parts) -> list[Check]:
    """Every claim, in the order of the report; parts made with ``--quick`` give none of them a value.

    Raises
    ------
    UserError
        If the records of a comparison with peers are not complete.
    """
    return [*_peers(parts), *_hotpath(parts), _growth(parts)]


def _claim(parts: Parts, part: str, value: float | None, claim: Check) -> Check:
    """``claim`` with its value, or with why there is none."""
    quick = part in parts and parts[part].quick
    why = None if value is not None and not quick else QUICK if quick else ABSENT
    return replace(claim, value=None if why else value, not_run=why, quick=quick)


def _open(name: str, relation: str, bound: float, statement: str, aim: float | None = None) -> Check:
    """A claim of timing whose value is still to come."""
    return Check(name=name, check="timing", value=None, relation=relation, bound=bound, statement=statement, aim=aim)


def _peers(parts: Parts) -> list[Check]:
    run = parts.get("peers")
    compared = sides(run) if run else {}
    names = [name for name in compared if name != OURS]
    found = []
    for name in dict.fromkeys([*PEERS, *names]):
        value = compared[name].over(compared[OURS])[ITERATION].median if name in compared else None
        words = "The peer's fastest configuration over ours, repeat by repeat of one run; the median."
        claim = _open(f"iteration, times as fast as {name}", "at least", PEER_BOUND, words, PEER_AIM)
        found.append(_claim(parts if name in compared else {}, "peers", value, claim))
    return found


def _hotpath(parts: Parts) -> list[Check]:
    run = parts.get("hotpath")
    passes = fastest(run) if run else []
    batches = (
        f"batches of {', '.join(str(each.own.batch) for each in passes)}" if passes else "batches of 256 and more"
    )
    fractions = [each.of_sgemm for each in passes if each.of_sgemm is not None]
    gains = [each.plain.value / each.own.value for each in passes if each.plain]
    sampled = [each.value for each in _of(run, SamplingRate) if each.L == 12 and each.symmetry == "C4"]
    peaks = [
        each.value / GIB for each in _of(run, Memory) if (each.network, each.L, each.batch) == ("large", 10, 1024)
    ]
    values = (
        (
            min(fractions, default=None),
            _open(
                "forward of large, 12x12: fraction of sgemm", "at least", FORWARD_OF_SGEMM,
                f"The fastest form on all cores, the lowest of {batches}; fused multiply-adds over sgemm's.",
            ),
        ),
        (
            min(gains, default=None),
            _open(
                "forward of large, 12x12: times as fast as the plain module", "at least", TIMES_PLAIN,
                f"The fastest form on all cores, the least of {batches}.",
            ),
        ),
        (
            min(sampled, default=None),
            _open(
                "samples a second, 12x12 with C4", "at least", SAMPLES_PER_SECOND,
                "The median rate; of several networks the lowest.", SAMPLES_AIM,
            ),
        ),
        (
            max(peaks, default=None),
            _open(
                "peak memory of derivatives and step, GiB", "below", MEMORY_GIB,
                "Log-derivatives and the step in sample space of large, 10x10, 1,024 samples: all that the process "
                "held.",
            ),
        ),
    )  # fmt: skip
    return [_claim(parts, "hotpath", value, claim) for value, claim in values]


def _growth(parts: Parts) -> Check:
    curves = [each for each in _of(parts.get("growth"), Growth) if each.quantity == "seconds"]
    outside = [each for each in curves if each.off > WITHIN]
    words = f"The largest of {len(curves) or 'all'} curves"
    words += f"; outside: {'; '.join(_curve(each) for each in outside)}." if outside else "."
    claim = _open("growth of seconds: exponent off the expected one", "at most", WITHIN, words)
    return _claim(parts, "growth", max((each.off for each in curves), default=None), claim)


def fastest(run: Run) -> list[Fastest]:
    """Of each batch that the claims are about: large on 12x12, at least 256 configurations, on all cores."""
    every = [each for each in run.of(WorkTime) if each.work == FORWARD]
    threads = max((each.threads or 1 for each in every), default=1)
    rows = [
        each for each in every if (each.network, each.L, each.threads) == ("large", 12, threads) and each.batch >= 256
    ]
    known, found = rates(run), []
    for batch in sorted({each.batch for each in rows}):
        forms = {each.form: each for each in rows if each.batch == batch}
        own = min((forms[name] for name in FORMS if name in forms), key=lambda each: each.value, default=None)
        if own is not None:
            found.append(Fastest(own, forms.get(PLAIN), of_sgemm(own, known)))
    return found


def _of(run: Run | None, kind: type[R]) -> list[R]:
    return run.of(kind) if run else []


def _curve(curve: Growth) -> str:
    return f"{curve.work.replace('_', ' ')} against {curve.variable} ({curve.value:.2f} for {curve.expected:.3g})"
