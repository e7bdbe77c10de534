"""What the cost model says of the paper's numbers, with one standard error: half of the band of 68 %."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qmcbench.group import evaluations
from qmcbench.reference.claims import LARGE
from qmcbench.store.records import Run
from qmcbench.store.scaling import Efficiency, ModelledTime
from qmcbench.store.scaling import Modelled as Record

Of = Mapping[str, float | str]
Found = tuple[float, float | None]


@dataclass(frozen=True)
class Modelled:
    """The times and efficiencies of the paper's work."""

    times: Mapping[tuple[object, ...], ModelledTime]
    """By source, phase, parameters, processes, L and evaluations of the network."""
    efficiencies: Mapping[tuple[int | None, int], Efficiency]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Modelled:
        """Those of the first run that has some."""
        run = next((run for run in runs if run.job == "scale project"), None)
        if run is None:
            return cls({}, {})
        paper = [each for each in run.of(ModelledTime) if each.reference and each.reference.kind == "paper"]
        works = [(each, each.work) for each in paper]
        return cls(
            {(each.source, each.phase, w.parameters, w.processes, w.L, w.rotations): each for each, w in works},
            {(each.work.L, each.work.processes): each for each in run.of(Efficiency)},
        )

    def value(self, of: Of) -> Found | None:
        """The model's value and error of a claim; None if it has none."""
        name = of.get("name")
        if name == "efficiency":
            efficiency = self.efficiencies.get((int(of["L"]), int(of["processes"])))
            return None if efficiency is None else (efficiency.value, sigma(efficiency))
        if name == "speedup":
            return self._over(*(self._time({**of, "phase": "sr", "processes": n} | ROW) for n in (1024, 40000)))
        if name == "saturation":
            return self._saturation()
        if of["phase"] == "overhead":
            without = {key: value for key, value in of.items() if key not in ("L", "symmetry")}
            return self._over(self._time(without | {"phase": "sr"}), self._time({**of, "phase": "iteration"}))
        found = self._time(of)
        return None if found is None else (found.value, sigma(found))

    def _time(self, of: Of) -> ModelledTime | None:
        L = int(of["L"]) if "L" in of else None
        rotations = 1 if L is None else evaluations(str(of["symmetry"]), L)
        rest = (of["phase"], of["parameters"], of["processes"], L, rotations)
        # pdpotrf does not depend on the samples: Fig. 10 prints two of Fig. 9's bars again.
        sources = (of["source"], "Fig. 9") if of["phase"] == "factorisation" else (of["source"],)
        return next((self.times[source, *rest] for source in sources if (source, *rest) in self.times), None)

    def _over(self, above: ModelledTime | None, below: ModelledTime | None) -> Found | None:
        """A quotient; the two errors are taken as independent, which they are not quite."""
        if above is None or below is None:
            return None
        value, errors = above.value / below.value, (sigma(above), sigma(below))
        if None in errors:
            return value, None
        parts = [(error or 0.0) / time.value for error, time in zip(errors, (above, below), strict=True)]
        return value, value * math.hypot(*parts)

    def _saturation(self) -> Found | None:
        """The number of processes of Fig. 10 on which the three parts together take least."""
        sums: dict[object, float] = {}
        for processes in sorted({key[3] for key in self.times if key[0] == "Fig. 10"}, key=str):
            of: dict[str, float | str] = {"source": "Fig. 10", "parameters": LARGE, "processes": int(str(processes))}
            parts = [self._time(of | {"phase": phase}) for phase in ("factorisation", "product", "data")]
            if all(parts):
                sums[processes] = sum(each.value for each in parts if each)
        return (float(str(min(sums, key=lambda each: sums[each]))), None) if sums else None


ROW: dict[str, float | str] = {"source": "Table 3", "parameters": LARGE}


def sigma(record: Record) -> float | None:
    """Half of the band of 68 %; None where the machine has no errors."""
    return None if record.band68 is None else (record.band68[1] - record.band68[0]) / 2
