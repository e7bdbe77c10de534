"""Heat map of the structure factor over the Brillouin zone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from qmcbench.errors import UserError
from qmcbench.report.figure import WIDTH, render

# In units of pi, (k_x, k_y).
POINTS = {"Γ": (0, 0), "X": (1, 0), "Y": (0, 1), "M": (1, 1)}
TICKS = {-1.0: "−π", -0.5: "−π/2", 0.0: "0", 0.5: "π/2", 1.0: "π"}


def draw_structure_factor(values: ArrayLike, target: Axes | Path | str) -> None:
    """Draw S(k) for -pi <= k_x, k_y <= pi, one cell for each momentum of the lattice.

    Momenta on the zone's edge (dashed) appear on both sides of it, so the zone is closed; nothing is interpolated.

    Parameters
    ----------
    values
        S(k) as :class:`qmcbench.observables.Observables` has it, shape (L, L), L even: entry (m, n) is at
        (k_y, k_x) = 2 pi (m, n) / L, k_x along a row of the lattice. In units of hbar^2, not divided by N.
    target
        Axes to draw on (its figure gets the colour bar), or the path of an SVG file without its suffix, which has
        the same bytes for the same values.

    Raises
    ------
    UserError
        If the shape is another, or a value is not finite.
    """
    zone = closed_zone(values)
    if isinstance(target, Axes):
        _draw(zone, target)
        return
    path = Path(target)
    svg = render(path.name, (WIDTH, 0.79 * WIDTH), lambda figure: _draw(zone, figure.subplots()))
    path.with_name(f"{path.name}.svg").write_text(svg, encoding="utf-8")


def closed_zone(values: ArrayLike) -> NDArray[np.float64]:
    """S(k) from -pi to pi, both included, shape (L + 1, L + 1), from the order of a Fourier transform, (L, L).

    Raises
    ------
    UserError
        If the shape is another, or a value is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise UserError(f"S(k) has shape {array.shape}, but a map needs one value for each momentum, shape (L, L).")
    if bad := np.count_nonzero(~np.isfinite(array)):
        raise UserError(f"{bad} of {array.size} values of S(k) are not finite; leave abnormal samples out of it.")
    if len(array) % 2:
        raise UserError(f"S(k) needs an even lattice, but L = {len(array)} is odd.")
    return np.pad(np.fft.fftshift(array), (0, 1), mode="wrap")


def _draw(zone: NDArray[np.float64], axes: Axes) -> None:
    cells = len(zone)
    # Edges of the cells in units of pi; their centres are the momenta.
    edges = (np.arange(cells + 1) - cells / 2) * 2 / (cells - 1)
    mesh = axes.pcolormesh(edges, edges, zone, cmap="viridis", vmin=min(0.0, float(zone.min())), edgecolors="face")
    mesh.set_linewidth(0.2)  # no hairlines between the cells
    # White on the dark half of the colours, its outline on the light half.
    outline = [patheffects.withStroke(linewidth=2, foreground="black")]
    zone_edge = Rectangle((-1, -1), 2, 2, fill=False, linestyle="--", color="white", path_effects=outline)
    axes.add_patch(zone_edge)
    for name, point in POINTS.items():
        axes.text(*point, name, color="white", ha="center", va="center", weight="bold", path_effects=outline)
    for axis, name in ((axes.xaxis, "x"), (axes.yaxis, "y")):
        axis.set_ticks(list(TICKS), list(TICKS.values()))
        axis.set_label_text(rf"$k_{name}$")
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Figure)
    bar = figure.colorbar(mesh, ax=axes, label=r"$S(\mathbf{k})$  ($\hbar^2$)")
    bar.outline.set_visible(False)
