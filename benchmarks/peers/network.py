"""The paper's network in JAX, for both peers: the plain form of its Sec. 3.1.

``parameters`` has qmcbench's names and shapes (``block1.conv.weight``: (out, in, k, k), and so on), so weights
exported from qmcbench are used as they are. Nothing of qmcbench is imported: the peers' environment is their own.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

FORMS = ("conv", "conv_nchw", "im2col")
"""Ways to convolve: XLA's convolution with channels last or first, or patches gathered for one matrix product."""


def log_psi(parameters: Mapping[str, jax.Array], spins: jax.Array, L: int, form: str) -> tuple[jax.Array, jax.Array]:
    """(log|psi|, sign) of the product over all outputs and the Marshall sign, for ``spins`` (batch, L * L) of +-1."""
    v = _outputs(parameters, spins, L, form)
    site = jnp.arange(L)
    on_a = ((site[:, None] + site) % 2 == 0).reshape(-1)
    flips = ((v < 0) ^ (on_a & (spins > 0))).sum(-1)
    return jnp.log(jnp.abs(v)).sum(-1), (1 - 2 * (flips % 2)).astype(v.dtype)


def _outputs(parameters: Mapping[str, jax.Array], spins: jax.Array, L: int, form: str) -> jax.Array:
    dtype = parameters["block1.conv.weight"].dtype
    x = spins.astype(dtype).reshape(-1, L, L, 1)
    for number in range(1, len(parameters) // 4 + 1):
        conv, conv_bias, deconv, deconv_bias = (
            parameters[f"block{number}.{layer}.{kind}"] for layer in ("conv", "deconv") for kind in ("weight", "bias")
        )
        half = conv.shape[-1] // 2
        padded = jnp.pad(x, ((0, 0), (half, half), (half, half), (0, 0)), mode="wrap")
        rows = _convolve(padded, conv, L, form) + conv_bias
        # Pairs of sites along a row: their maximum, and two outputs from it.
        pooled = rows.reshape(-1, L, L // 2, 2, rows.shape[-1]).max(3)
        pairs = jnp.einsum("bijc,cop->bijpo", pooled, deconv)
        x = pairs.reshape(-1, L, L, deconv.shape[1]) + deconv_bias
    return x.reshape(-1, L * L)


def _convolve(padded: jax.Array, weight: jax.Array, L: int, form: str) -> jax.Array:
    if form == "conv":
        kernel = weight.transpose(2, 3, 1, 0)
        return jax.lax.conv_general_dilated(
            padded, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    if form == "conv_nchw":
        first = padded.transpose(0, 3, 1, 2)
        return jax.lax.conv_general_dilated(first, weight, (1, 1), "VALID").transpose(0, 2, 3, 1)
    if form == "im2col":
        k = weight.shape[-1]
        patches = jnp.concatenate([padded[:, i : i + L, j : j + L] for i in range(k) for j in range(k)], axis=-1)
        return patches @ weight.transpose(2, 3, 1, 0).reshape(-1, weight.shape[0])
    raise ValueError(f"form = {form!r} is none of {', '.join(FORMS)}")
