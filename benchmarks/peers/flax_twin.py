"""The paper's network as a module of Flax, for NetKet."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import network


class Twin(nn.Module):
    """log psi = log|psi| + i pi [psi < 0], complex because NetKet has no sign beside a real log psi."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]
    L: int
    form: str

    @nn.compact
    def __call__(self, spins: jax.Array) -> jax.Array:
        # The values come from a file; see MCState's ``variables``.
        parameters = {
            name: self.param(name, nn.initializers.zeros, shape, jnp.float32) for name, shape in self.shapes
        }
        log_psi, sign = network.log_psi(parameters, spins.reshape(-1, self.L**2), self.L, self.form)
        return jax.lax.complex(log_psi, jnp.pi * (sign < 0).astype(log_psi.dtype)).reshape(spins.shape[:-1])
