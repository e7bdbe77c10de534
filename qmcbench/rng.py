"""Counter-based random numbers: each chain has its own stream, whoever computes it and in whatever batch.

Philox4x32-10 (Salmon et al., SC'11, doi:10.1145/2063384.2063405) in int64 tensor arithmetic, so that the same
numbers come out on every device and any number of processes, and a stream resumes from its counter alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox4x32(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four 32-bit words for each counter.

    Parameters
    ----------
    counter
        Four int64 tensors of values in [0, 2^32), broadcast against each other.
    key
        Two integers in [0, 2^32).

    Returns
    -------
    tuple of Tensor
        Four int64 tensors of values in [0, 2^32).
    """
    c0, c1, c2, c3 = torch.broadcast_tensors(*counter)
    k0, k1 = key
    for _ in range(10):
        # int64 products wrap modulo 2^64; the masks make the arithmetic shift a logical one.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def chain_uniforms(seed: int, chains: Tensor, start: int, count: int) -> Tensor:
    """Uniform numbers in [0, 1) with 53 bits: two for each chain and each of its next ``count`` proposals.

    Parameters
    ----------
    seed
        Run seed, 0 <= seed < 2^64.
    chains
        Global chain numbers, shape (n,), int64.
    start
        How many proposals each chain has made before.
    count
        How many proposals to serve.

    Returns
    -------
    Tensor
        Shape (count, 2, n), float64.
    """
    step = torch.arange(start, start + count, device=chains.device)[:, None]
    chain = chains[None, :]
    words = philox4x32((step & _MASK, step >> 32, chain & _MASK, chain >> 32), (seed & _MASK, (seed >> 32) & _MASK))
    high = torch.stack(words[0::2], dim=1)
    low = torch.stack(words[1::2], dim=1)
    return ((high >> 5) * 2**26 + (low >> 6)).to(torch.float64) * 2.0**-53
