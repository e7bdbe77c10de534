"""What large arrays need, compared with what is free before any of them is made."""

from __future__ import annotations

import psutil

from qmcbench.errors import UserError

# Bytes that a chain holds for each of its proposals in a sweep (random words and uniforms: qmcbench.rng), for each
# site (its configuration, the proposed one and that of the network's input) and for each of the 2 L^2 bonds (whether
# it can move, and their running count).
PER_PROPOSAL, PER_SITE, PER_BOND = 96, 12, 5


def sampling(L: int, chains: int, gap: int | None) -> int:
    """Bytes that a sweep of ``chains`` chains needs at least, without the network's own.

    Parameters
    ----------
    L
        Linear size.
    chains
        Of this process.
    gap
        Proposals between samples; L * L if None. A warm-up sweep has L * L.
    """
    sites = L * L
    return chains * (PER_PROPOSAL * max(sites, gap or 0) + (PER_SITE + 2 * PER_BOND) * sites)


def check(need: float, purpose: str, advice: str, processes: int = 1) -> None:
    """See that ``need`` bytes for each of ``processes`` processes of this node are free.

    Raises
    ------
    UserError
        If not, with both numbers: they are needed for ``purpose``, and ``advice`` says what to do.
    """
    needed, free = processes * need / 2**30, psutil.virtual_memory().available / 2**30
    if needed > free:
        who = f"the {processes} ranks of this node need" if processes > 1 else "this process needs"
        raise UserError(
            f"{who[0].upper()}{who[1:]} {needed:.3g} GiB for {purpose}, but {free:.3g} GiB are free; {advice}."
        )
