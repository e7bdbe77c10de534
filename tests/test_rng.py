"""Philox against Random123's known answers, and the streams against their definition and their independence."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from qmcbench.rng import chain_uniforms, philox4x32


def words(text: str) -> tuple[int, ...]:
    """Eight-digit hexadecimal words."""
    return tuple(int(word, 16) for word in text.split())


def one_block(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The four words of a single counter."""
    c0, c1, c2, c3 = (torch.tensor([c]) for c in counter)
    return tuple(int(word) for word in philox4x32((c0, c1, c2, c3), (key[0], key[1])))


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        pytest.param("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8", id="zeros"),
        pytest.param(
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
            id="ones",
        ),
        pytest.param(
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
            id="pi",
        ),
    ],
)
def test_known_answers(counter: str, key: str, answer: str) -> None:
    """Philox4x32-10 gives the vectors of Random123's kat_vectors file."""
    assert one_block(words(counter), words(key)) == words(answer)


def test_counters_broadcast() -> None:
    """A grid of counters gives what its entries give one by one."""
    row, column = torch.arange(3)[:, None], torch.arange(2)[None, :] + 2**32 - 2
    blocks = philox4x32((row, torch.zeros(1, dtype=torch.int64), column, row), (5, 6))
    for i in range(3):
        for j in range(2):
            expected = one_block((i, 0, 2**32 - 2 + j, i), (5, 6))
            assert tuple(int(word[i, j]) for word in blocks) == expected


@pytest.mark.parametrize("seed", [0, 7, 2**32 + 7, 2**63 + 11])
@pytest.mark.parametrize("start", [0, 3, 2**32 - 1, 2**40])
@pytest.mark.parametrize("chain", [0, 5, 2**32 + 5])
def test_stream_is_a_function_of_seed_chain_and_proposal(seed: int, start: int, chain: int) -> None:
    """Two 53-bit numbers from words (0, 1) and (2, 3) of the block whose counter is (proposal, chain), key the seed.

    This is the format that lets a run resume; 64-bit seeds, chains and proposals enter with all their bits.
    """
    got = chain_uniforms(seed, torch.tensor([chain]), start, 2)
    for step in range(2):
        at = start + step
        w = one_block((at % 2**32, at >> 32, chain % 2**32, chain >> 32), (seed % 2**32, seed >> 32))
        expected = [((high >> 5) * 2**26 + (low >> 6)) / 2**53 for high, low in (w[:2], w[2:])]
        assert got[step, :, 0].tolist() == expected


def test_streams_do_not_depend_on_the_batch() -> None:
    """Chains give the same bits alone, in parts, in any order and together."""
    chains = torch.arange(20)
    together = chain_uniforms(3, chains, 10, 5)
    assert torch.equal(torch.cat([chain_uniforms(3, part, 10, 5) for part in chains.split(7)], dim=2), together)
    assert torch.equal(chain_uniforms(3, chains.flip(0), 10, 5), together.flip(2))


def test_streams_continue() -> None:
    """Served in parts from the right start, a stream is the one long stream."""
    chains = torch.arange(4)
    parts = [chain_uniforms(3, chains, start, count) for start, count in ((0, 4), (4, 1), (5, 7))]
    assert torch.equal(torch.cat(parts), chain_uniforms(3, chains, 0, 12))


def test_streams_differ() -> None:
    """Over seeds, chains, proposals and the two numbers of one proposal, none of 8000 numbers of 53 bits repeats."""
    drawn = torch.stack([chain_uniforms(seed, torch.arange(20), 0, 10) for seed in range(20)])
    assert drawn.unique().numel() == drawn.numel() == 8000


def test_numbers_are_uniform() -> None:
    """4e5 numbers: in [0, 1), mean, variance and 100 bins as they must be, at a false-alarm rate below 2e-4 in all.

    Mean and variance within 4 standard errors (6e-5 each) of 1/2 and 1/12, a chi-square at 5e-5.
    """
    u = chain_uniforms(1, torch.arange(200), 0, 1000).numpy().ravel()
    assert u.dtype == np.float64
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 1 / 2) < 4 * math.sqrt(1 / 12 / u.size)
    assert abs(u.var() - 1 / 12) < 4 * math.sqrt(1 / 180 / u.size)
    counts = np.bincount((100 * u).astype(int), minlength=100)
    expected = u.size / 100
    assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(5e-5, 99)


def test_numbers_are_not_correlated() -> None:
    """Neither the two numbers of a proposal, nor neighbouring proposals, nor neighbouring chains are correlated.

    2e5 pairs or so each, bound 4 standard errors: a false-alarm rate of 6e-5 each.
    """
    v = 12**0.5 * (chain_uniforms(2, torch.arange(400), 0, 500).numpy() - 0.5)
    for left, right in ((v[:, 0], v[:, 1]), (v[1:], v[:-1]), (v[..., 1:], v[..., :-1])):
        assert abs((left * right).mean()) < 4 / math.sqrt(left.size)
