"""What benchmarks claim: each claim with its value and bound, from the records of the parts; torch is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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


def _claim(run: Run | None, value: float | None, **claim: Any) -> Check:
    """A claim of timing about a value of ``run``, or why there is none."""
    quick = run is not None and run.quick
    why = None if value is not None and not quick else QUICK if quick else ABSENT
    return Check(check="timing", value=None if why else value, not_run=why, quick=quick, **claim)


def _peers(parts: Parts) -> list[Check]:
    run = parts.get("peers")
    compared = sides(run) if run else {}
    names = [name for name in compared if name != OURS]
    found = []
    for name in dict.fromkeys([*PEERS, *names]):
        value: float | None = None
        of = "iteration"
        if name in compared:
            value, step = compared[name].over(compared[OURS])[ITERATION].median, compared[name].times[ITERATION]
            of += f" of {step.network}, {step.L}x{step.L}"
        claim = _claim(
            run if name in compared else None, value, name=f"{of}, times as fast as {name}",
            relation="at least", bound=PEER_BOUND, aim=PEER_AIM,
            statement="The peer's fastest configuration over ours, repeat by repeat of one run; the median.",
        )  # fmt: skip
        found.append(claim)
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
    return [
        _claim(
            run, min(fractions, default=None),
            name="forward of large, 12x12: times as fast as its multiply-adds by sgemm",
            relation="at least", bound=FORWARD_OF_SGEMM,
            statement=f"The fastest form on all cores, the least of {batches}: the time of the fused form's "
            "multiply-adds at sgemm's rate over its own; Fourier space does without most of them.",
        ),
        _claim(
            run, min(gains, default=None), name="forward of large, 12x12: times as fast as the plain module",
            relation="at least", bound=TIMES_PLAIN,
            statement=f"The fastest form on all cores, the least of {batches}.",
        ),
        _claim(
            run, min(sampled, default=None), name="samples a second, 12x12 with C4",
            relation="at least", bound=SAMPLES_PER_SECOND, aim=SAMPLES_AIM,
            statement="The median rate; of several networks the lowest.",
        ),
        _claim(
            run, max(peaks, default=None), name="peak memory of derivatives and step, GiB",
            relation="below", bound=MEMORY_GIB,
            statement="Log-derivatives and the step in sample space of large, 10x10, 1,024 samples: all that the "
            "process held.",
        ),
    ]  # fmt: skip


def _growth(parts: Parts) -> Check:
    run = parts.get("growth")
    curves = [each for each in _of(run, Growth) if each.quantity == "seconds"]
    outside = [each for each in curves if each.off > WITHIN]
    words = f"The largest of {len(curves) or 'all'} curves"
    words += f"; outside: {'; '.join(_curve(each) for each in outside)}." if outside else "."
    largest = max((each.off for each in curves), default=None)
    name = "growth of seconds: exponent off the expected one"
    return _claim(run, largest, name=name, relation="at most", bound=WITHIN, statement=words)


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
