"""Ideal layouts of the multi-module detectors of the European XFEL.

The order of tiles is that of the European XFEL detector documentation; the conventions
for corners and origins are those of EXtra-geom, so that the same numbers give the same
positions. x grows to the left looking along the beam, y up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xfelred.detectors import CATALOGUE, Detector, told_by
from xfelred.detectors.description import Layout
from xfelred.detectors.euxfel import JUNGFRAU, JUNGFRAU_LAYOUT
from xfelred.errors import ArgumentError, did_you_mean, listing
from xfelred.geometry.panels import Panel, vector
from xfelred.kernels.arrays import Floats

Pair = tuple[float, float]
# Signs of (slow, fast) steps of quadrants 1 to 4.
AGIPD_QUADRANTS = ((1, -1), (1, -1), (-1, 1), (-1, 1))
DSSC_QUADRANTS = ((1, -1), (1, -1), (-1, 1), (-1, 1))
# Modules of an LPD quadrant, in widths and heights from its reference corner.
LPD_MODULES = ((-1, 0), (-1, -1), (0, -1), (0, 0))


def with_layout(name: str) -> tuple[Detector, Layout]:
    """Return a detector, by a name such as ``"SPB_DET_AGIPD1M-1"``, and its layout."""
    found = told_by(name)
    if found is None or found.layout is None:
        known = [d.name for d in CATALOGUE.values() if d.layout is not None]
        raise ArgumentError(
            f"no built-in layout for detector {name!r}; known: {listing(known)}."
            f"{did_you_mean(name, known)} Other detectors: Geometry.from_crystfel,"
            " from_module_positions, from_positions or from_extra_geom"
        )
    return found, found.layout


def quadrant_panels(
    detector: Detector,
    layout: Layout,
    quads: Sequence[Pair],
    *,
    asic_gap: float | None = None,
    panel_gap: float | Pair | None = None,
    unit: float | None = None,
) -> tuple[Panel, ...]:
    """Return the panels of a detector given the corners of its quadrants.

    Parameters
    ----------
    detector, layout
        See `with_layout`.
    quads : sequence of (x, y)
        AGIPD1M: corner of the first pixel of the first module. LPD1M: corner at the
        last tile of the fourth module, top left. DSSC1M: bottom right corner.
        AGIPD500K2G: one entry, the beam from the bottom right corner. Left and right
        as seen along the beam.
    asic_gap, panel_gap : float, optional
        Between tiles and between modules; for AGIPD500K2G (in x, in y).
    unit : float, optional
        Metres per unit of positions and gaps.
    """
    builders = {"agipd": agipd_module, "lpd": lpd_module, "dssc": dssc_module}
    n_modules = detector.shape[0]
    n_quads = n_modules // 4 if layout.order in builders else 1
    corners = np.asarray(quads, dtype=np.float64)
    if corners.shape != (n_quads, 2):
        raise ArgumentError(
            f"positions have shape {corners.shape}; {detector.name} wants"
            f" {(n_quads, 2)}: x and y of each"
        )
    scale = layout.unit if unit is None else unit
    asic = layout.asic_gap * layout.unit if asic_gap is None else asic_gap * scale
    default = np.multiply(layout.panel_gap, layout.unit)
    gap = default if panel_gap is None else np.multiply(panel_gap, scale)
    corners = corners * scale
    tiles = Tiles(detector, layout)
    if layout.order not in builders:
        across, up = (float(g) for g in np.broadcast_to(gap, 2))
        return agipd500k2g_panels(tiles, vector2(corners[0]), (asic, across, up))
    build, gaps = builders[layout.order], (asic, float(gap))
    return tuple(
        panel
        for module in range(n_modules)
        for panel in build(tiles, module, vector2(corners[module // 4]), gaps)
    )


class Tiles:
    """Tiles of a module: their sizes in pixels and metres, and how many there are."""

    def __init__(self, detector: Detector, layout: Layout) -> None:
        self.height, self.width = layout.tile
        self.pitch = detector.pitch
        _, rows, columns = detector.shape
        self.rows, self.columns = rows // self.height, columns // self.width
        self.stagger = layout.stagger

    def panel(
        self, module: int, at: tuple[int, int], corner: Pair, slow: Pair, fast: Pair
    ) -> Panel:
        """Return the tile `at` (row, column); corner and steps are (x, y)."""
        first = at[0] * self.height, at[1] * self.width
        return Panel(
            module,
            (first[0], first[0] + self.height),
            (first[1], first[1] + self.width),
            vector((*corner, 0)),
            vector((*slow, 0)),
            vector((*fast, 0)),
            self.stagger,
        )


def vector2(values: Floats) -> Pair:
    return float(values[0]), float(values[1])


def agipd_module(tiles: Tiles, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 8 tiles; `quad` is the first pixel's corner in the first module."""
    pitch = tiles.pitch[0]
    slow, fast = AGIPD_QUADRANTS[module // 4]
    step = tiles.height * pitch + gaps[0]
    y = quad[1] - module % 4 * (tiles.width * pitch + gaps[1])
    return [
        tiles.panel(
            module,
            (tile, 0),
            (quad[0] + slow * tile * step, y),
            (slow * pitch, 0),
            (0, fast * pitch),
        )
        for tile in range(tiles.rows)
    ]


def lpd_module(tiles: Tiles, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 16 tiles; `quad` is the corner at the last tile of the fourth module."""
    pitch, (asic, gap) = tiles.pitch[0], gaps
    rows, columns = tiles.rows, tiles.columns
    across, up = LPD_MODULES[module % 4]
    width, height = tiles.width * pitch, tiles.height * pitch
    right = quad[0] + across * (columns * width + (columns - 1) * asic + gap)
    top = quad[1] + up * (rows * height + (rows - 1) * asic + gap)
    return [
        tiles.panel(
            module,
            (row, column),
            (
                right - (columns - 1 - column) * (width + asic) - width,
                top - (rows - 1 - row) * (height + asic) - height,
            ),
            (0, pitch),
            (pitch, 0),
        )
        for column in range(columns)
        for row in range(rows)
    ]


def dssc_module(tiles: Tiles, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 2 tiles; `quad` is the low-x, low-y corner of the quadrant."""
    slow_pitch, fast_pitch = tiles.pitch
    slow, fast = DSSC_QUADRANTS[module // 4]
    width, height = tiles.width * fast_pitch, tiles.height * slow_pitch
    x = quad[0] + (2 * width + gaps[0] if fast < 0 else 0.0)
    y = quad[1] + (4 * height + 3 * gaps[1] if slow < 0 else 0.0)
    y += slow * (module % 4) * (height + gaps[1])
    return [
        tiles.panel(
            module,
            (0, tile),
            (x + fast * tile * (width + gaps[0]), y),
            (0, slow * slow_pitch),
            (fast * fast_pitch, 0),
        )
        for tile in range(tiles.columns)
    ]


def agipd500k2g_panels(
    tiles: Tiles, beam: Pair, gaps: tuple[float, float, float]
) -> tuple[Panel, ...]:
    """Return 4 rows of 2 modules; `gaps` are (between tiles, modules in x, in y)."""
    pitch, (asic, across, up) = tiles.pitch[0], gaps
    step = tiles.height * pitch + asic
    width = tiles.rows * step - asic
    panels = []
    for module in range(8):
        row, column = divmod(module, 2)
        x = width - beam[0] + column * (width + across)
        y = (3 - row) * (tiles.width * pitch + up) - beam[1]
        panels += [
            tiles.panel(
                module, (tile, 0), (x - tile * step, y), (-pitch, 0), (0, pitch)
            )
            for tile in range(tiles.rows)
        ]
    return tuple(panels)


def jungfrau_panels(
    offsets: Sequence[Pair],
    orientations: Sequence[tuple[int, int]] | None = None,
    *,
    asic_gap: float = 2.0,
    unit: float | None = None,
) -> tuple[Panel, ...]:
    """Return the panels of JUNGFRAU modules, 2 rows of 4 tiles each.

    `offsets` are the bottom, beam-right corners of the modules whatever their
    orientation; `orientations` the signs of the (fast, slow) steps along x and y.
    """
    signs = [(1, 1)] * len(offsets) if orientations is None else list(orientations)
    if len(signs) != len(offsets):
        raise ArgumentError(
            f"{len(signs)} orientations for {len(offsets)} offsets; give one each"
        )
    if any(abs(sign) != 1 for pair in signs for sign in pair):
        raise ArgumentError(f"orientations are pairs of +1 and -1, not {signs}")
    tiles, pitch = Tiles(JUNGFRAU, JUNGFRAU_LAYOUT), JUNGFRAU.pitch[0]
    # In pixels until the end: a corner half way between two pixels stays so.
    scale = 1.0 if unit is None else unit / pitch
    gap = asic_gap * scale
    width, height = tiles.width + gap, tiles.height + gap
    rows, columns = tiles.rows, tiles.columns
    panels = []
    for module, ((x, y), (sx, sy)) in enumerate(zip(offsets, signs, strict=True)):
        x0 = x * scale + (0 if sx == 1 else columns * tiles.width + (columns - 1) * gap)
        y0 = y * scale + (0 if sy == 1 else rows * tiles.height + (rows - 1) * gap)
        panels += [
            tiles.panel(
                module,
                (row, column),
                ((x0 + sx * column * width) * pitch, (y0 + sy * row * height) * pitch),
                (0, sy * pitch),
                (sx * pitch, 0),
            )
            for row in range(rows)
            for column in range(columns)
        ]
    return tuple(panels)
