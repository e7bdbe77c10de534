"""The map of S(k): a closed zone, the right cell at each momentum, readable labels, the same bytes each time."""

import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from qmcbench.errors import UserError
from qmcbench.report.zero_shot.structure_factor import closed_zone, draw_structure_factor


def numbered(L: int) -> np.ndarray:
    """An S(k) with another value at each momentum."""
    return np.arange(L * L, dtype=np.float64).reshape(L, L)


@pytest.mark.parametrize("L", [4, 12])
def test_zone_is_closed_and_in_order(L: int) -> None:
    """Cell (m, n) of the zone, from -pi on, has the value of its momentum modulo 2 pi."""
    values, zone = numbered(L), closed_zone(numbered(L))
    assert zone.shape == (L + 1, L + 1)
    for m in range(L + 1):
        for n in range(L + 1):
            assert zone[m, n] == values[(m - L // 2) % L, (n - L // 2) % L]


@pytest.mark.parametrize("L", [4, 12])
def test_cells_are_centred_on_their_momenta(L: int) -> None:
    """Drawn at (k_x, k_y) / pi is the value whose second index goes with k_x; labels stand on their points."""
    figure, values = Figure(), numbered(L)
    axes = figure.subplots()
    draw_structure_factor(values, axes)
    (mesh,) = (c for c in axes.collections if isinstance(c, QuadMesh))
    corners, drawn = mesh.get_coordinates(), mesh.get_array()
    centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
    for (m, n), value in np.ndenumerate(drawn):
        x, y = np.rint(centres[m, n] * L / 2).astype(int)
        np.testing.assert_allclose(centres[m, n], (x * 2 / L, y * 2 / L), atol=1e-12)
        assert value == values[y, x]
    assert centres.min() == pytest.approx(-1)
    assert centres.max() == pytest.approx(1)
    points = {text.get_text(): text.get_position() for text in axes.texts}
    assert points == {"Γ": (0, 0), "X": (1, 0), "Y": (0, 1), "M": (1, 1)}
    for axis in (axes.xaxis, axes.yaxis):
        labels = {
            label.get_text(): tick for label, tick in zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
        }
        assert labels == {"−π": -1, "−π/2": -0.5, "0": 0, "π/2": 0.5, "π": 1}
    assert mesh.get_clim() == (0, L * L - 1)
    assert len(figure.axes) == 2
    assert r"\hbar^2" in figure.axes[1].get_ylabel()


def test_svg_has_the_same_bytes_and_leaves_the_settings_alone(tmp_path: Path) -> None:
    """Written twice, in folders of other names and under other settings; a suffix-like stem is kept."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    draw_structure_factor(numbered(6), tmp_path / "a" / "j2-0.5")
    with matplotlib.rc_context({"font.size": 30}):
        draw_structure_factor(numbered(6), str(tmp_path / "b" / "j2-0.5"))
        assert matplotlib.rcParams["font.size"] == 30
    first, second = ((tmp_path / folder / "j2-0.5.svg").read_bytes() for folder in ("a", "b"))
    assert first == second
    assert first.lstrip().startswith(b"<?xml")
    assert not re.search(rb"<dc:date>", first)
    draw_structure_factor(numbered(6) + 1, tmp_path / "a" / "j2-0.5")
    assert (tmp_path / "a" / "j2-0.5.svg").read_bytes() != first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((4, 6)), r"shape \(4, 6\)"),
        (np.ones(16), r"shape \(16,\)"),
        (np.ones((5, 5)), "L = 5 is odd"),
        (np.where(np.eye(4) > 0, np.nan, 1.0), "4 of 16 values"),
    ],
)
def test_refusals(values: np.ndarray, message: str, tmp_path: Path) -> None:
    """Another shape, an odd lattice, values that are not finite: one sentence, and no file."""
    with pytest.raises(UserError, match=message):
        draw_structure_factor(values, tmp_path / "map")
    assert not list(tmp_path.iterdir())
