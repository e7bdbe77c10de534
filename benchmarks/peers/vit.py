"""A vision transformer with factored attention as a module of Flax, as NetKet's tutorial describes it.

Patches of spins become vectors; layers of attention, whose weights depend on the displacement of two patches alone,
and of two dense ones mix them; their sum goes through one complex layer of log cosh.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

KERNEL = nn.initializers.xavier_uniform()


def dense(width: int) -> nn.Dense:
    """A dense layer in double precision."""
    return nn.Dense(width, kernel_init=KERNEL, param_dtype=jnp.float64)


def norm() -> nn.LayerNorm:
    """A layer norm in double precision."""
    return nn.LayerNorm(param_dtype=jnp.float64)


class Attention(nn.Module):
    """Factored attention of several heads on a torus of ``side`` x ``side`` patches."""

    width: int
    heads: int
    side: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        patches = self.side**2
        by_shift = self.param("alpha", KERNEL, (self.heads, patches), jnp.float64)
        row, column = np.divmod(np.arange(patches), self.side)
        shift = (row - row[:, None]) % self.side * self.side + (column - column[:, None]) % self.side
        values = dense(self.width)(x).reshape(*x.shape[:2], self.heads, -1)
        mixed = jnp.einsum("hij,bjhe->bihe", by_shift[:, shift], values)
        return dense(self.width)(mixed.reshape(x.shape))


class ViT(nn.Module):
    """log psi of spins (batch, L * L); complex."""

    L: int
    layers: int
    width: int
    heads: int
    patch: int

    @nn.compact
    def __call__(self, spins: jax.Array) -> jax.Array:
        side, patch = self.L // self.patch, self.patch
        x = jnp.atleast_2d(spins).astype(jnp.float64).reshape(-1, side, patch, side, patch)
        x = dense(self.width)(x.transpose(0, 1, 3, 2, 4).reshape(-1, side**2, patch**2))
        for _ in range(self.layers):
            x = x + Attention(self.width, self.heads, side)(norm()(x))
            inner = nn.gelu(dense(4 * self.width)(norm()(x)))
            x = x + dense(self.width)(inner)
        z = norm()(x.sum(1))
        out = jax.lax.complex(norm()(dense(self.width)(z)), norm()(dense(self.width)(z)))
        log_psi = (jnp.logaddexp(out, -out) - jnp.log(2.0)).sum(-1)
        return log_psi.reshape(spins.shape[:-1])
