"""Ideal layouts of the multi-module detectors of the European XFEL.

Tables of facts: pixel pitches, tiles and their order (European XFEL detector
documentation; the conventions for corners and origins are those of EXtra-geom, so that
the same numbers give the same positions). x grows to the left looking along the beam,
y up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ArgumentError, did_you_mean, listing
from xfelred.geometry.panels import Panel, Shape, vector

Pair = tuple[float, float]
ROW_PITCH_HEXAGONAL = 1.5 / np.sqrt(3)  # of the column pitch


@dataclass(frozen=True)
class Layout:
    """What is fixed for one detector type.

    Attributes
    ----------
    shape : (module, slow, fast)
    pitch : (slow, fast)
        Pixel steps in metres.
    unit : float
        Metres per unit in which positions and gaps are given.
    asic_gap, panel_gap : float
        Default gaps, in `unit`; a pair: along x and along y.
    """

    shape: Shape
    pitch: Pair
    unit: float
    asic_gap: float
    panel_gap: float | Pair


LAYOUTS = {
    "AGIPD1M": Layout((16, 512, 128), (2e-4, 2e-4), 2e-4, 2.0, 29.0),
    "LPD1M": Layout((16, 256, 256), (5e-4, 5e-4), 1e-3, 2.0, 2.0),
    "DSSC1M": Layout(
        (16, 128, 512), (236e-6 * ROW_PITCH_HEXAGONAL, 236e-6), 1e-3, 2.0, 4.0
    ),
    "AGIPD500K2G": Layout((8, 512, 128), (2e-4, 2e-4), 2e-4, 2.0, (16.0, 30.0)),
    "JUNGFRAU": Layout((0, 512, 1024), (75e-6, 75e-6), 75e-6, 2.0, 0.0),
}
# Signs of (slow, fast) steps of quadrants 1 to 4.
AGIPD_QUADRANTS = ((1, -1), (1, -1), (-1, 1), (-1, 1))
DSSC_QUADRANTS = ((1, -1), (1, -1), (-1, 1), (-1, 1))
# Modules of an LPD quadrant, in widths and heights from its reference corner.
LPD_MODULES = ((-1, 0), (-1, -1), (0, -1), (0, 0))


def layout_name(detector: str) -> str:
    """Return the key of `LAYOUTS` for names such as ``"SPB_DET_AGIPD1M-1"``."""
    plain = detector.upper().replace("-", "").replace("_", "")
    for name in LAYOUTS:
        if name in plain:
            return name
    raise ArgumentError(
        f"no built-in layout for detector {detector!r}; known: {listing(LAYOUTS)}."
        f"{did_you_mean(plain, LAYOUTS)} Other detectors: Geometry.from_crystfel,"
        " from_positions or from_extra_geom"
    )


def quadrant_panels(
    name: str,
    quads: Sequence[Pair],
    *,
    asic_gap: float | None = None,
    panel_gap: float | Pair | None = None,
    unit: float | None = None,
) -> tuple[Panel, ...]:
    """Return the panels of a detector given the corners of its quadrants.

    Parameters
    ----------
    name : str
        Key of `LAYOUTS`.
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
    builders = {"AGIPD1M": agipd_module, "LPD1M": lpd_module, "DSSC1M": dssc_module}
    if name not in {*builders, "AGIPD500K2G"}:
        raise ArgumentError(
            f"{name} has no quadrants; see Geometry.from_module_positions"
        )
    layout = LAYOUTS[name]
    n_quads = layout.shape[0] // 4 if name in builders else 1
    corners = np.asarray(quads, dtype=np.float64)
    if corners.shape != (n_quads, 2):
        raise ArgumentError(
            f"positions have shape {corners.shape}; {name} wants {(n_quads, 2)}:"
            " x and y of each"
        )
    scale = layout.unit if unit is None else unit
    asic = layout.asic_gap * layout.unit if asic_gap is None else asic_gap * scale
    default = np.multiply(layout.panel_gap, layout.unit)
    gap = default if panel_gap is None else np.multiply(panel_gap, scale)
    corners = corners * scale
    if name == "AGIPD500K2G":
        across, up = (float(g) for g in np.broadcast_to(gap, 2))
        return agipd500k2g_panels(layout, vector2(corners[0]), (asic, across, up))
    gaps = asic, float(gap)
    return tuple(
        panel
        for module in range(16)
        for panel in builders[name](layout, module, vector2(corners[module // 4]), gaps)
    )


def vector2(values: NDArray[np.float64]) -> Pair:
    """Return two numbers as a tuple of float."""
    return float(values[0]), float(values[1])


def agipd_module(layout: Layout, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 8 tiles; `quad` is the first pixel's corner in the first module."""
    pitch = layout.pitch[0]
    slow_sign, fast_sign = AGIPD_QUADRANTS[module // 4]
    y = quad[1] - module % 4 * (128 * pitch + gaps[1])
    return [
        Panel(
            module,
            (64 * tile, 64 * tile + 64),
            (0, 128),
            vector((quad[0] + slow_sign * tile * (64 * pitch + gaps[0]), y, 0)),
            vector((slow_sign * pitch, 0, 0)),
            vector((0, fast_sign * pitch, 0)),
        )
        for tile in range(8)
    ]


def lpd_module(layout: Layout, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 16 tiles; `quad` is the corner at the last tile of the fourth module."""
    pitch, (asic, gap) = layout.pitch[0], gaps
    across, up = LPD_MODULES[module % 4]
    right = quad[0] + across * (256 * pitch + asic + gap)
    top = quad[1] + up * (256 * pitch + 7 * asic + gap)
    panels = []
    for column in range(2):
        for row in range(8):
            x = right - (1 - column) * (128 * pitch + asic) - 128 * pitch
            y = top - (7 - row) * (32 * pitch + asic) - 32 * pitch
            panels.append(
                Panel(
                    module,
                    (32 * row, 32 * row + 32),
                    (128 * column, 128 * column + 128),
                    vector((x, y, 0)),
                    vector((0, pitch, 0)),
                    vector((pitch, 0, 0)),
                )
            )
    return panels


def dssc_module(layout: Layout, module: int, quad: Pair, gaps: Pair) -> list[Panel]:
    """Return 2 tiles; `quad` is the low-x, low-y corner of the quadrant."""
    slow_pitch, fast_pitch = layout.pitch
    slow_sign, fast_sign = DSSC_QUADRANTS[module // 4]
    width, height = 256 * fast_pitch, 128 * slow_pitch
    x = quad[0] + (2 * width + gaps[0] if fast_sign < 0 else 0.0)
    y = quad[1] + (4 * height + 3 * gaps[1] if slow_sign < 0 else 0.0)
    y += slow_sign * (module % 4) * (height + gaps[1])
    return [
        Panel(
            module,
            (0, 128),
            (256 * tile, 256 * tile + 256),
            vector((x + fast_sign * tile * (width + gaps[0]), y, 0)),
            vector((0, slow_sign * slow_pitch, 0)),
            vector((fast_sign * fast_pitch, 0, 0)),
            stagger=0.5,
        )
        for tile in range(2)
    ]


def agipd500k2g_panels(
    layout: Layout, beam: Pair, gaps: tuple[float, float, float]
) -> tuple[Panel, ...]:
    """Return 4 rows of 2 modules; `gaps` are (between tiles, modules in x, in y)."""
    pitch, (asic, across, up) = layout.pitch[0], gaps
    tile_step = 64 * pitch + asic
    width = 8 * tile_step - asic
    panels = []
    for module in range(8):
        row, column = divmod(module, 2)
        x = width - beam[0] + column * (width + across)
        y = (3 - row) * (128 * pitch + up) - beam[1]
        panels += [
            Panel(
                module,
                (64 * tile, 64 * tile + 64),
                (0, 128),
                vector((x - tile * tile_step, y, 0)),
                vector((-pitch, 0, 0)),
                vector((0, pitch, 0)),
            )
            for tile in range(8)
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
    pitch = LAYOUTS["JUNGFRAU"].pitch[0]
    # In pixels until the end: a corner half way between two pixels stays so.
    scale = 1.0 if unit is None else unit / pitch
    gap = asic_gap * scale
    step = 256 + gap
    panels = []
    for module, ((x, y), (sx, sy)) in enumerate(zip(offsets, signs, strict=True)):
        x0 = x * scale + (0 if sx == 1 else 4 * 256 + 3 * gap)
        y0 = y * scale + (0 if sy == 1 else 2 * 256 + gap)
        panels += [
            Panel(
                module,
                (256 * row, 256 * row + 256),
                (256 * column, 256 * column + 256),
                vector(
                    (
                        (x0 + sx * column * step) * pitch,
                        (y0 + sy * row * step) * pitch,
                        0,
                    )
                ),
                vector((0, sy * pitch, 0)),
                vector((sx * pitch, 0, 0)),
            )
            for row in range(2)
            for column in range(4)
        ]
    return tuple(panels)
