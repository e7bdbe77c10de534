"""NetKet against the clock: the twin network, or networks and settings of its own tutorials.

Configuration: network (twin, ViT, GCNN), samples, rate (for its Pauli matrices, whose energies are 4 times those of
S.S), shift, chunk, packed (``NETKET_EXPERIMENTAL_PACKED_KERNEL``), and what the network takes.
"""

import learning  # first, for its clock

# isort: split
import os
import warnings

import numpy as np

job = learning.job()
TWIN = job.configuration["network"] == "twin"
os.environ["NETKET_ENABLE_X64"] = "0" if TWIN else "1"
os.environ["NETKET_EXPERIMENTAL_PACKED_KERNEL"] = "1" if job.configuration["packed"] else "0"
warnings.filterwarnings("ignore", message="Explicitly requested dtype float64")

import flax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import netket as nk  # noqa: E402
import optax  # noqa: E402

PAULI = 4


def model(job: learning.Job, graph: nk.graph.AbstractGraph):
    """The network, and its parameters where they are given."""
    chosen = job.configuration
    if TWIN:
        from flax_twin import Twin

        with np.load(job.data) as file:
            start = {name: file[name] for name in file.files if name not in ("spins", "log_psi", "sign")}
        made = Twin(tuple((name, value.shape) for name, value in start.items()), job.L, "conv")
        return made, {"params": {name: jnp.asarray(value) for name, value in start.items()}}
    if chosen["network"] == "ViT":
        from vit import ViT

        return ViT(job.L, chosen["layers"], chosen["width"], chosen["heads"], chosen["patch"]), None
    return nk.models.GCNN(
        symmetries=graph.space_group(), layers=chosen["layers"], features=chosen["features"], param_dtype=complex
    ), None


class NetKet:
    """NetKet's MCState and VMC_SR driver."""

    def __init__(self, job: learning.Job) -> None:
        chosen = job.configuration
        self.versions = {"netket": nk.__version__, "jax": jax.__version__, "flax": flax.__version__}
        self.sites, self.samples = job.L**2, chosen["samples"]
        graph = nk.graph.Square(job.L, max_neighbor_order=2)
        hilbert = nk.hilbert.Spin(0.5, graph.n_nodes, total_sz=0)
        # The twin has Marshall's sign itself, the ViT learns its signs, the GCNN is told Marshall's.
        rule = [chosen["network"] == "GCNN", False]
        self.hamiltonian = nk.operator.Heisenberg(
            hilbert, graph, J=[1.0, job.J2], sign_rule=rule, dtype=np.float32 if TWIN else np.float64
        ).to_jax_operator()
        sampler = nk.sampler.MetropolisExchange(
            hilbert,
            graph=nk.graph.Square(job.L) if TWIN else graph,
            d_max=1 if TWIN else 2,
            n_chains=self.samples,
            sweep_size=self.sites,
            dtype=jnp.int8,
        )
        network, variables = model(job, graph)
        self.state = nk.vqs.MCState(
            sampler,
            network,
            variables=variables,
            n_samples=self.samples,
            n_discard_per_chain=0,
            chunk_size=chosen["chunk"],
            seed=job.seed,
            sampler_seed=job.seed,
        )
        self.parameters = nk.jax.tree_size(self.state.parameters)
        self.driver = nk.driver.VMC_SR(
            self.hamiltonian,
            optax.sgd(chosen["rate"]),
            diag_shift=chosen["shift"],
            variational_state=self.state,
            chunk_size_bwd=chosen["chunk_bwd"],
            mode="real" if TWIN else "complex",
            use_ntk=True,
            on_the_fly=True,
        )
        # As this package's chains, which leave their first configurations; NetKet's tutorials do not.
        for _ in range(10 if TWIN else 0):
            self.state.reset()
            self.state.sample()

    def step(self) -> tuple[float, float]:
        self.driver.reset_step()
        found, update = self.driver.compute_loss_and_update()
        self.driver.update_parameters(update)
        jax.block_until_ready(self.state.parameters)
        scale = PAULI * self.sites
        return float(np.real(found.mean)) / scale, float(np.real(found.error_of_mean)) / scale

    def fresh(self, samples: int) -> tuple[float, float, int]:
        columns = []
        for number in range(learning.SETTLE + -(-samples // self.samples)):
            self.state.reset()
            self.state.sample()
            if number >= learning.SETTLE:
                local = np.asarray(self.state.local_estimators(self.hamiltonian).data).real
                columns.append(local.ravel() / (PAULI * self.sites))
        return learning.of_chains(np.stack(columns, axis=1))

    def finished(self) -> bool:
        return False


if __name__ == "__main__":
    learning.learn(job, NetKet(job))
