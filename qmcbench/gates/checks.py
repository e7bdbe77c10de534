"""The energy of any wave function on 4x4 by a full sum, for trained networks and for people."""

from __future__ import annotations

import torch

from qmcbench.ansatz.base import Ansatz, amplitudes
from qmcbench.hamiltonian import J1J2
from qmcbench.lattice import all_configurations
from qmcbench.local_energy import local_energies


@torch.no_grad()
def full_sum_energy(psi: Ansatz, J2: float) -> float:
    """<psi|H|psi> / <psi|psi> per site by a sum over all 4x4 configurations; nan if a term of it is not finite."""
    spins = all_configurations(4)
    log_psi, phase = amplitudes(psi, spins)
    energies = local_energies(psi, J1J2(4, J2), spins, log_psi, phase)
    weights = torch.softmax(2 * log_psi, 0)
    # A configuration with psi = 0 has no local energy and no weight; a local energy that is not finite elsewhere must
    # be seen.
    terms = torch.where(weights == 0, 0.0, weights * energies.real)
    return float(terms.sum()) / 16
