"""What an evaluation is asked for, and what it says as records: energies, correlations, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from qmcbench.checkpoint import Checkpoint
from qmcbench.config import Config, Sampling
from qmcbench.evaluator import Samples
from qmcbench.exact import ExactEvaluation
from qmcbench.observables import Measured, Observables
from qmcbench.reference.schemas import document
from qmcbench.reference.verify_paper import cells
from qmcbench.store.energies import Correlations, Energy, FullSum, Network, Windowed, best_known, finite
from qmcbench.store.records import Reference

# The authors keep only local energies per site in here (MCMC.py of github liangstein/Verify-CNN-based-wave-functions-
# energy); the mean of what is left is biased.
WINDOW = (-0.6, -0.45)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to evaluate, and where to."""

    checkpoint: Path
    """Of a run, or an imported network."""
    out: Path
    """Folder to write to; made if missing."""
    samples: int
    """Of all chains together, rounded up to a multiple of their number; with ``sigma`` at most so many."""
    sampling: Sampling
    """Chains, warm-up, gap, alpha and bound."""
    L: int | None = None
    J2: tuple[float, ...] = ()
    """Lattice (any even size) and couplings; absent, those of the checkpoint."""
    sigma: float | None = None
    """Standard error of the energy per site (units of J1), at every J2, that is enough (:mod:`qmcbench.stopping`)."""
    symmetry: str | None = None
    """What psi is summed over (:class:`qmcbench.config.Wavefunction`), if not what it was trained with."""
    seed: int = 0
    """The chains draw from streams apart from those of training with the same seed."""
    device: str = "cpu"
    """``"cpu"`` or ``"cuda"``."""
    observables: str = "none"
    """What else to estimate from one random origin a sample: ``"spins"`` (correlations and structure factor, about
    L^2 / 4 forwards a sample more, which has 3 L^2) or ``"dimers"`` too (about 2 L^2 more); see
    :mod:`qmcbench.observables`."""
    lanczos: bool = False
    """Whether to take one Lanczos step too, with some 2.5 L^4 forwards a sample; see :mod:`qmcbench.lanczos`."""
    restart: bool = False
    """Begin anew, discarding a state that is there."""
    quiet: bool = False
    """No progress on standard error."""
    name: str | None = None
    """Of the energies; lattice and coupling if absent."""
    command: str = "qmcbench.evaluation.evaluate"
    """For the provenance."""


def network_of(stored: Checkpoint, config: Config, digest: str) -> Network:
    """Which wave function a checkpoint holds."""
    wavefunction = config.wavefunction
    return Network(
        name=wavefunction.network,
        parameters=sum(tensor.numel() for tensor in stored.parameters.values()),
        symmetry=wavefunction.symmetry,
        sign=wavefunction.sign,
        dtype=wavefunction.dtype,
        L=config.model.L,
        J2=config.model.J2,
        sha256=digest,
        origin=stored.imported,
    )


def energy(samples: Samples, request: Request, J2: float, network: Network, seconds: float) -> Energy:
    """Everything known of the energy at one J2; per site, in units of J1."""
    assert request.L is not None
    assert request.sampling.gap is not None
    estimate = samples.estimate()
    outside, rest = samples.window(*WINDOW)
    paper = cells(document("paper")).get((request.L, J2))
    return Energy(
        value=finite(estimate.mean),
        sigma=finite(estimate.error),
        samples=estimate.samples,
        tau=estimate.tau,
        seed=request.seed,
        threads=torch.get_num_threads(),
        seconds=seconds,
        reference=best_known(request.L, J2),
        name=request.name or f"{request.L}x{request.L} J2={J2:g}",
        network=network,
        L=request.L,
        J2=J2,
        device=request.device,
        chains=request.sampling.chains,
        gap=request.sampling.gap,
        warm_up=request.sampling.warm_up,
        alpha=request.sampling.alpha,
        bound=request.sampling.bound,
        asked=request.samples,
        asked_sigma=request.sigma,
        variance=finite(estimate.variance),
        v_score=finite(samples.v_score()),
        r_hat=finite(estimate.r_hat),
        effective_samples=estimate.effective_samples,
        plateau=estimate.plateau,
        acceptance=samples.acceptance,
        abnormal=samples.abnormal,
        window=Windowed(
            low=WINDOW[0],
            high=WINDOW[1],
            outside=outside,
            mean=None if rest is None else rest.mean,
            sigma=None if rest is None else finite(rest.error),
        ),
        paper=None if paper is None else Reference(value=paper, source="seed paper, Table 4", kind="paper"),
    )


def full_sum(found: ExactEvaluation, network: Network) -> FullSum:
    """What a full sum says of the wave function ``network``, as a record."""
    return FullSum(
        value=found.energy,
        seconds=sum(found.seconds),
        reference=Reference(value=found.exact_energy, source="exact diagonalization with QuSpin, here"),
        network=network,
        L=found.L,
        J2=found.J2,
        sector=found.sector,
        ground_sector=found.ground_sector,
        variance=found.variance,
        v_score=found.v_score,
        infidelity=found.infidelity,
        one_step_energy=found.one_step_energy,
        one_step_variance=found.one_step_variance,
        extrapolated_energy=found.extrapolated_energy,
        asymmetry=finite(found.asymmetry),
        configurations=found.configurations,
    )


def correlations(measured: Observables, request: Request, samples: int) -> list[Correlations]:
    """One record for each quantity that was measured."""
    assert request.L is not None
    half = request.L // 2
    parts: dict[str, tuple[Measured | None, tuple[int, ...]]] = {
        "correlation": (measured.correlation, (half, half)),
        "structure_factor": (measured.structure_factor, (half, half)),
        "bond": (measured.bond, (0,)),
        "dimer": (measured.dimer, (0, half, half)),
    }
    return [
        Correlations(
            value=finite(float(part.mean[at])),
            unit="hbar^4" if quantity == "dimer" else "hbar^2",
            sigma=finite(float(part.error[at])),
            samples=samples,
            seed=request.seed,
            quantity=quantity,
            L=request.L,
            shape=part.mean.shape,
            at=at,
            mean=tuple(map(finite, part.mean.ravel().tolist())),
            error=tuple(map(finite, part.error.ravel().tolist())),
            plateau=tuple(part.plateau.ravel().tolist()),
        )
        for quantity, (part, at) in parts.items()
        if part is not None
    ]
