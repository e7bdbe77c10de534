"""Deliberate bugs of the Hamiltonian, of large lattices, of ranks, of resuming and of the reference values."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers.planting import Plant, changed, edited

from qmcbench import checkpoint, hamiltonian, lattice, training, vmc
from qmcbench.reference import networks, schemas
from qmcbench.sampler import Chains


def wrapped_wrongly(patch: pytest.MonkeyPatch) -> None:
    """One of the two diagonals is not wrapped around the edge for L > 4: those bonds join other sites."""
    right = lattice.next_nearest_bonds

    def bonds(L: int) -> torch.Tensor:
        found = right(L).clone()
        if L > 4:
            last = found[(found[:, 0] % L == L - 1)]
            found[found[:, 0] % L == L - 1, 1] = last[:, 0] - 1
        return found

    patch.setattr(hamiltonian, "next_nearest_bonds", bonds)


def bond_missing(patch: pytest.MonkeyPatch) -> None:
    """The last nearest-neighbour bond is another one's copy."""
    right = lattice.nearest_bonds

    def bonds(L: int) -> torch.Tensor:
        return torch.cat([right(L)[:-1], right(L)[:1]])

    patch.setattr(hamiltonian, "nearest_bonds", bonds)


def pauli(patch: pytest.MonkeyPatch) -> None:
    """Matrix elements of Pauli matrices: four times those of spins."""
    right = hamiltonian.J1J2.__init__

    def init(self: hamiltonian.J1J2, *given: Any, **more: Any) -> None:
        right(self, *given, **more)
        self.coupling = 4 * self.coupling

    patch.setattr(hamiltonian.J1J2, "__init__", init)


def exchange_sign(patch: pytest.MonkeyPatch) -> None:
    """The exchange has the other sign, which is a rotation of one sublattice only at J2 = 0."""
    right = hamiltonian.J1J2.off_diagonal
    patch.setattr(hamiltonian.J1J2, "off_diagonal", lambda self, bond: -right(self, bond))


def coupling_doubled(patch: pytest.MonkeyPatch) -> None:
    """J2 counts twice."""
    right = hamiltonian.J1J2.__init__

    def init(self: hamiltonian.J1J2, L: int, J2: float, *given: Any, **more: Any) -> None:
        right(self, L, 2 * J2, *given, **more)

    patch.setattr(hamiltonian.J1J2, "__init__", init)


def equal_seeds(patch: pytest.MonkeyPatch) -> None:
    """Every rank numbers its chains from 0, so that all ranks draw the same."""
    right = Chains.neel
    patch.setattr(Chains, "neel", classmethod(lambda cls, L, chains, *, first=0, device="cpu": right(L, chains)))


def own_mean(patch: pytest.MonkeyPatch) -> None:
    """Each rank takes the averages of its own samples."""
    right = vmc.centre
    patch.setattr(vmc, "centre", lambda rows, energies, weights, comm: right(rows, energies, weights / weights.sum()))


def resumed(change: Callable[[vmc.Trainer], None]) -> Plant:
    """Something is lost on resuming."""
    right = training.resume

    def plant(patch: pytest.MonkeyPatch) -> None:
        def resume(*given: Any) -> vmc.Trainer:
            trainer = right(*given)
            change(trainer)
            return trainer

        patch.setattr(training, "resume", resume)

    return plant


def _random_streams(trainer: vmc.Trainer) -> None:
    trainer.chains.proposals = 0


def _momentum(trainer: vmc.Trainer) -> None:
    trainer.last_solution = torch.zeros_like(trainer.last_solution)


def _alpha(trainer: vmc.Trainer) -> None:
    trainer.alpha = trainer.config.sampling.alpha


def _history(trainer: vmc.Trainer) -> None:
    trainer.history = trainer.history[:, :0]


def unseeded(patch: pytest.MonkeyPatch) -> None:
    """Fresh parameters come from the global generator."""
    right = vmc.build_ansatz

    def build(*given: Any, **more: Any) -> torch.nn.Module:
        psi = right(*given, **more)
        with torch.no_grad():
            for parameter in psi.parameters():
                parameter.add_(1e-6 * torch.randn(parameter.shape, dtype=parameter.dtype))
        return psi

    patch.setattr(vmc, "build_ansatz", build)
    patch.setattr(training, "build_ansatz", build)


def one_seed(patch: pytest.MonkeyPatch) -> None:
    """The sampler forgets its seed."""
    right = vmc.Sampler
    patch.setattr(vmc, "Sampler", lambda L, seed, **more: right(L, 0, **more))


def published_moved(patch: pytest.MonkeyPatch) -> None:
    """A published energy of 10x10 is 1e-3 off."""
    right = schemas.document

    def document(name: str) -> dict[str, Any]:
        found = copy.deepcopy(right(name))
        if name == "published":
            rows = next(rows for rows in found.values() if isinstance(rows, list))
            row = next(row for row in rows if row["L"] == 10 and row["kind"] == "variational")
            row["energy"] += 1e-3
        return found

    patch.setattr(schemas, "document", document)


def loaded(**other: str) -> Plant:
    """A checkpoint's wave function is built with these settings instead of its own."""
    return changed(
        training,
        "build_ansatz",
        lambda right, config, *given, **named: right(replace(config, **other), *given, **named),
    )


def halved(patch: pytest.MonkeyPatch) -> None:
    """Parameters are kept in bfloat16 on the way from the file."""
    right = checkpoint.decode

    def decode(content: bytes, source: str) -> checkpoint.Checkpoint:
        found = right(content, source)
        return replace(found, parameters={name: value.bfloat16() for name, value in found.parameters.items()})

    patch.setattr(checkpoint, "decode", decode)


def card_moved(patch: pytest.MonkeyPatch) -> None:
    """The energy on the card of every shipped network is 1e-5 off."""
    right = networks.parse

    def parse(text: str) -> networks.NetworkCard:
        card = right(text)
        return replace(card, evaluation=replace(card.evaluation, energy=card.evaluation.energy + 1e-5))

    patch.setattr(networks, "parse", parse)


TRAINED = "ground_state/trained-networks"

MUTANTS: dict[str, tuple[Plant, str]] = {
    "a diagonal bond wrapped wrongly for L > 4": (wrapped_wrongly, "hamiltonian/magnons"),
    "a bond missing and another twice": (bond_missing, "hamiltonian/magnons"),
    "Pauli matrices": (pauli, "hamiltonian/magnons"),
    "sign of the exchange": (exchange_sign, "hamiltonian/magnons"),
    "J2 twice": (coupling_doubled, "ground_state/eigenstate"),
    "equal seeds on ranks": (equal_seeds, "distributed/ranks"),
    "averages of each rank's own samples": (own_mean, "distributed/ranks"),
    "random streams dropped on resume": (resumed(_random_streams), "reproducibility/resume"),
    "momentum dropped on resume": (resumed(_momentum), "reproducibility/resume"),
    "alpha dropped on resume": (resumed(_alpha), "reproducibility/resume"),
    "history dropped on resume": (resumed(_history), "reproducibility/resume"),
    "parameters from the global generator": (unseeded, "reproducibility/seeds"),
    "the sampler's seed forgotten": (one_seed, "reproducibility/seeds"),
    "a published energy moved by 1e-3": (published_moved, "ground_state/reference-values"),
    "fresh parameters for a checkpoint's": (
        edited(training.ansatz_of, ("checkpoint.load_parameters(psi, stored, path)", "pass")),
        TRAINED,
    ),
    "a checkpoint's symmetry taken for C4": (loaded(symmetry="C4"), TRAINED),
    "a checkpoint's sign rule left out": (loaded(sign="none"), TRAINED),
    "a checkpoint's parameters in bfloat16": (halved, TRAINED),
    "the energy on a card moved by 1e-5": (card_moved, TRAINED),
}
"""How each is planted, and the gate that catches it."""
