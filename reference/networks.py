"""Trained networks that travel with the package, ``checkpoints/NAME.safetensors``, each with a card beside it.

``python -m qmcbench.jobs.ship`` makes both from the folder of a run and an evaluation of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qmcbench.reference.errors import ReferenceLayerError

FOLDER = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True, kw_only=True)
class TrainingStage:
    """One of the runs that a network comes from."""

    command: str
    date: str
    """Of its last checkpoint; ISO 8601, UTC."""
    configuration: Mapping[str, Mapping[str, Any]]
    """All that `qmcbench train` was told or filled in, by section."""
    steps: int
    trial_steps: int
    """Of fresh networks that were tried before the first step."""
    seconds: float
    """That its steps took; those of the trials are not counted in."""
    cpu: str
    cores: int
    ranks: int
    versions: Mapping[str, str]

    @property
    def samples(self) -> int:
        """Configurations sampled in all, trials included."""
        chains: int = self.configuration["sampling"]["chains"]
        return chains * (self.steps + self.trial_steps)


@dataclass(frozen=True, kw_only=True)
class NetworkEnergy:
    """The energy per site of a network on its own lattice and coupling, S.S units, J1 = 1."""

    energy: float
    error: float
    """One standard error; 0 of a full sum."""
    how: str
    samples: int | None
    """None of a full sum."""
    variance: float
    """Of the energy per site."""
    v_score: float
    exact: float | None
    """The ground state's, where it is known."""
    infidelity: float | None
    """``1 - |<psi|ground state>|^2``, where a full sum says it."""
    command: str

    @property
    def relative_error(self) -> float | None:
        """``(E - E_exact) / |E_exact|``."""
        return None if self.exact is None else (self.energy - self.exact) / abs(self.exact)


@dataclass(frozen=True, kw_only=True)
class NetworkCard:
    """What is known of a trained network."""

    name: str
    sha256: str
    """Of the file of its parameters."""
    parameters: int
    symmetry: str
    """That it is summed over here; training may have taken another one."""
    licence: str
    start: str | None
    """What the first of its stages started from; None is fresh parameters."""
    stages: tuple[TrainingStage, ...]
    """The runs it comes from; the last one ended with it."""
    evaluation: NetworkEnergy

    @property
    def configuration(self) -> Mapping[str, Mapping[str, Any]]:
        """Of the last stage."""
        return self.stages[-1].configuration

    @property
    def L(self) -> int:
        """Linear size of its lattice."""
        size: int = self.configuration["model"]["L"]
        return size

    @property
    def J2(self) -> float:
        """Its coupling."""
        return float(self.configuration["model"]["J2"])

    @property
    def path(self) -> Path:
        """Of its parameters; see :func:`checkpoint`, which checks them."""
        return FOLDER / f"{self.name}.safetensors"


def checkpoints() -> tuple[NetworkCard, ...]:
    """The cards of all networks that are here, by lattice, coupling and name."""
    cards = [parse(path.read_text(encoding="utf-8")) for path in FOLDER.glob("*.json")]
    return tuple(sorted(cards, key=lambda card: (card.L, card.J2, card.name)))


def network(name: str) -> NetworkCard:
    """The card of one network.

    Raises
    ------
    ReferenceLayerError
        If there is none of this name; says which there are.
    """
    there = {each.name: each for each in checkpoints()}
    if name not in there:
        raise ReferenceLayerError(
            f"there is no trained network {name!r} here: choose one of {', '.join(there) or 'none, as none is here'}"
        )
    return there[name]


def checkpoint(name: str) -> Path:
    """The checkpoint of one network, which its card has been seen to be about.

    Raises
    ------
    ReferenceLayerError
        If there is none of this name, or its file is missing or another one than the card says.
    """
    known = network(name)
    try:
        digest = hashlib.sha256(known.path.read_bytes()).hexdigest()
    except OSError as error:
        raise ReferenceLayerError(
            f"{known.path} cannot be read ({error.strerror}): install qmcbench again"
        ) from error
    if digest != known.sha256:
        raise ReferenceLayerError(
            f"{known.path} has the SHA-256 {digest[:16]}..., but its card says {known.sha256[:16]}...: "
            "install qmcbench again"
        )
    return known.path


def parse(text: str) -> NetworkCard:
    """The card in the JSON text of its file."""
    plain: dict[str, Any] = json.loads(text)
    stages = tuple(TrainingStage(**stage) for stage in plain["stages"])
    return NetworkCard(**{**plain, "stages": stages, "evaluation": NetworkEnergy(**plain["evaluation"])})
