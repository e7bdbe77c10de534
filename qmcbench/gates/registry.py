"""The gates: each one small function with a stable name, which makes checks of a target.

To add one, write it in the module of its level (``gates/levels/``) and decorate it with :func:`gate`; nothing else
has to know of it. It gets the :class:`~qmcbench.gates.targets.target.Target` and a :class:`Setting`, and gives one
:class:`~qmcbench.gates.check.Check` or several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import import_module
from typing import TYPE_CHECKING

from qmcbench.errors import UserError
from qmcbench.gates.check import KINDS, Check

if TYPE_CHECKING:
    from qmcbench.gates.targets.target import Target

LEVELS = {
    "hamiltonian": "matrix elements and eigenstates of the Hamiltonian",
    "ansatz": "the wave function as a function: finite, deterministic, with the symmetries it claims",
    "derivatives": "log-derivatives against finite differences",
    "local_energy": "local energies against exact sums",
    "sampler": "the sampled distribution, its moves and its random streams",
    "estimator": "energies and their error bars against full sums",
    "optimiser": "the step of stochastic reconfiguration",
    "ground_state": "energies against exact diagonalization",
    "large": "energies of lattices beyond exact diagonalization, against published ones",
    "distributed": "independence of the number of ranks",
    "reproducibility": "the same seed, or a resumed run, gives the same bits",
    "samples": "samples that another program has written",
    "claims": "energies that somebody claims",
}
"""Every level, a module of ``gates/levels``, in the order in which they run: what others rest on comes first."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a gate is run with."""

    seed: int
    """Of everything random in it."""
    rate: float
    """False-alarm rate of each statistical test that it makes."""
    effect: float
    """The smallest effect that it must see, in the unit that the gate states; nan for an exact gate."""
    quick: bool = False
    """Whether to take smaller sizes where they still see the effect."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The smallest effect that a statistical gate must see."""

    size: float
    unit: str
    """For people."""
    tests: int = 1
    """How many statistical tests the gate makes: false alarms are shared out among all of them."""


Make = Callable[["Target", Setting], "Check | Iterable[Check]"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One gate; its documentation is that of its function."""

    name: str
    """``level/name``."""
    kind: str
    """A key of :data:`~qmcbench.gates.check.KINDS`."""
    needs: tuple[str, ...]
    """Attributes of a target that it cannot do without."""
    make: Make
    about: str
    """What it proves, in one line."""
    cause: str
    """What is usually wrong when it fails, in the field's words."""
    effect: Effect | None
    """None for an exact gate."""
    quick: bool
    """Whether it is part of ``--quick``."""

    @property
    def tests(self) -> int:
        """How many statistical tests it makes."""
        return 0 if self.effect is None else self.effect.tests

    @property
    def level(self) -> str:
        """The part of the name before the slash."""
        return self.name.partition("/")[0]


GATES: dict[str, Gate] = {}
"""Every gate by its name; complete after :func:`load`."""


def gate(
    kind: str,
    *,
    needs: Sequence[str],
    cause: str,
    effect: Effect | None = None,
    quick: bool = True,
    level: str | None = None,
) -> Callable[[Make], Make]:
    """Register the decorated function as a gate of the level whose module it stands in.

    Parameters
    ----------
    kind
        ``exact``, ``unbiased``, ``variational`` or ``convergence``.
    needs
        Attributes of a target that must not be None or empty; without them the gate is skipped, saying so.
    cause
        What is usually wrong when it fails.
    effect
        The smallest effect that it must see, if it is statistical.
    quick
        Whether ``--quick`` runs it.
    level
        Its level, where the function stands in a module of somebody else's.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of check")

    def register(make: Make) -> Make:
        home = level or make.__module__.rpartition(".")[2]
        name = f"{home}/{make.__name__.replace('_', '-')}"
        about = " ".join((make.__doc__ or "").split("\n\n")[0].split())
        if home not in LEVELS or name in GATES or not about:
            raise ValueError(f"the gate {name} has no level, no docstring, or the name of another")
        GATES[name] = Gate(
            name=name, kind=kind, needs=tuple(needs), make=make, about=about, cause=cause, effect=effect, quick=quick
        )  # fmt: skip
        return make

    return register


def load() -> dict[str, Gate]:
    """All gates, in the order in which they run (this imports torch)."""
    for level in LEVELS:
        import_module(f"qmcbench.gates.levels.{level}")
    order = list(LEVELS)
    return {each.name: each for each in sorted(GATES.values(), key=lambda each: order.index(each.level))}


def select(only: Sequence[str] = (), levels: Sequence[str] = (), *, quick: bool = False) -> list[Gate]:
    """The gates that are asked for.

    Parameters
    ----------
    only
        Names, or patterns such as ``sampler/*``.
    levels
        Names of levels.
    quick
        Leave out what takes long.

    Raises
    ------
    UserError
        If a name or a level matches nothing.
    """
    gates = load()
    for level in levels:
        if level not in LEVELS:
            raise UserError(f"There is no level {level!r}; the levels are {', '.join(LEVELS)}.")
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in gates):
            raise UserError(f"No gate is called {pattern!r}; `qmcbench gate --list` shows them all.")
    return [
        each
        for name, each in gates.items()
        if (not levels or each.level in levels)
        and (not only or any(fnmatchcase(name, pattern) for pattern in only))
        and (each.quick or not quick or name in only)
    ]
