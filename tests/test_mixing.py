"""R-hat of what an update of the parameters does not hide."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata

from qmcbench import statistics
from qmcbench.mixing import _places, mixing


@pytest.mark.parametrize("chains", [1, 2, 57])
def test_places_are_those_of_scipy(chains: int) -> None:
    """R-hat of the energies is, to the last bit, that of scipy's ranks, with ties and without."""
    draw = np.random.default_rng(2)
    for decimals in (0, 1, 12):
        history = draw.normal(-0.5, 1.0, (chains, 16)).round(decimals)
        places = np.apply_along_axis(_places, 0, history)
        np.testing.assert_array_equal(places, rankdata(history, axis=0))
        if chains > 1:
            assert mixing(history, np.ones_like(history, dtype=np.int16)) == statistics.r_hat(
                rankdata(history, axis=0)
            )


def test_abnormal_chains_leave_r_hat_alone() -> None:
    """A chain that was abnormal once is left out of the energies' R-hat; as energy 0 it would be the largest."""
    draw = np.random.default_rng(1)
    history, pairs = draw.normal(-0.5, 0.1, (20, 16)), draw.integers(0, 32, (20, 16), dtype=np.int16)
    same = np.ones_like(pairs)
    poisoned = history.copy()
    poisoned[3, 2:9] = np.nan
    assert mixing(poisoned, same) == mixing(np.delete(history, 3, axis=0), same)
    assert mixing(np.full((20, 16), np.nan), pairs) == statistics.r_hat(pairs)
    assert math.isnan(mixing(np.full((20, 16), np.nan), same))
    assert math.isnan(mixing(np.full((20, 16), -0.5), same))
    assert math.isnan(mixing(history[:, :3], pairs[:, :3]))
    assert mixing(history, np.arange(20)[:, None] + same) == math.inf
