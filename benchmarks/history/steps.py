"""Phases of optimisation steps by whatever qmcbench is imported: only what every version has had is used."""

import os

QUICK = os.environ.get("QMCBENCH_BENCH") == "quick"
L, CHAINS, STEPS = (4, 64, 2) if QUICK else (6, 512, 5)


class Phases:
    """The fastest of some steps of the small network with C4, after a first one; a sample takes L * L proposals."""

    params = ("sampling", "local_energy", "derivatives", "solve", "step")
    param_names = ("phase",)
    version = "1"
    unit = "seconds"
    timeout = 600.0

    def setup_cache(self) -> list[dict[str, float]]:
        """Seconds of each step by phase: measured once, for all phases."""
        # Here, as asv imports this file in several processes, and torch takes a second.
        from qmcbench.config import Config, Model, Sampling, Wavefunction
        from qmcbench.vmc import Trainer, build_ansatz

        config = Config(
            model=Model(L=L, J2=0.5),
            wavefunction=Wavefunction(network="small", symmetry="C4"),
            sampling=Sampling(chains=CHAINS, gap=L * L, warm_up=1),
        )
        trainer = Trainer(config, build_ansatz(config.wavefunction, seed=0))
        trainer.warm_up()
        return [trainer.advance().seconds for _ in range(1 + STEPS)][1:]

    def track_phase(self, steps: list[dict[str, float]], phase: str) -> float:
        return min(each[phase] for each in steps)
