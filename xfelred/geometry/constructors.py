"""The ways to make a `Geometry`; they become its class methods.

Parameters that they share: `energy` (eV) or `wavelength` (angstrom) of the photons,
without which there is no q; `distance` from the sample (m), without which images can
be assembled but there are no angles; `modules`, the hardware numbers, without which
modules are matched by position.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from xfelred.detectors.euxfel import JUNGFRAU, JUNGFRAU_LAYOUT
from xfelred.entries import entry, must_have
from xfelred.errors import ArgumentError
from xfelred.geometry import crystfel, detectors
from xfelred.geometry.energy import photon_energy
from xfelred.geometry.panels import Panel, Shape, find_panels, vector
from xfelred.geometry.pixel_places import POSITION_AXES, Places
from xfelred.geometry.pixels import Values, as_numbers, numbers_of, stacked, tilted
from xfelred.geometry.plausible import (
    ANGLE,
    DISTANCE,
    PIXEL_SIZE,
    QUADRANTS_SPREAD,
    check_apart,
    check_places,
    checked,
)
from xfelred.geometry.poni import Poni

Pair = tuple[float, float]

IMAGE_AXES = "x grows with fast_scan, y with slow_scan, z along the beam"
LABORATORY_AXES = (
    "right-handed: x to the left looking along the beam, y up, z along the beam"
)


@entry
def flat(
    cls: type[Places],
    shape: Sequence[int],
    centre: Pair,
    distance: float,
    pixel_size: float | Pair,
    *,
    energy: float | None = None,
    wavelength: float | None = None,
    modules: Iterable[int] | None = None,
) -> Places:
    """Describe a flat detector at right angles to the beam.

    Parameters
    ----------
    shape : (slow, fast) or (module, slow, fast)
        Number of pixels. Several modules all lie at the same place.
    centre : (x, y)
        Where the beam hits, in pixels: x along fast_scan, y along slow_scan; an
        integer is the centre of a pixel.
    distance : float
        From the sample, in metres.
    pixel_size : float or (slow, fast)
        In metres.
    energy, wavelength, modules
        See the class.
    """
    sizes = tuple(int(n) for n in shape)
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ArgumentError(
            f"shape={tuple(shape)}; wanted (slow, fast) or (module, slow, fast)"
        )
    distance = checked(distance, "distance", DISTANCE)
    n_modules, n_slow, n_fast = (1, *sizes)[-3:]
    slow, fast = (
        checked(p, "pixel_size", PIXEL_SIZE) for p in np.broadcast_to(pixel_size, 2)
    )
    foot = ((centre[1] + 0.5) * slow, (centre[0] + 0.5) * fast)
    plane = Poni(distance, foot, (0.0, 0.0, 0.0), (slow, fast))
    return cls(
        (n_modules, n_slow, n_fast),
        tuple(plane.panel((n_slow, n_fast), m) for m in range(n_modules)),
        modules=as_numbers(modules),
        energy=photon_energy(energy, wavelength),
        distance=plane.distance,
        handedness=IMAGE_AXES,
    )


@entry(own=("x", "y", "z"))
def from_positions(
    cls: type[Places],
    x: Values,
    y: Values,
    z: Values,
    *,
    energy: float | None = None,
    wavelength: float | None = None,
    modules: Iterable[int] | None = None,
    distance: float | None = None,
    handedness: str = POSITION_AXES,
) -> Places:
    """Take pixel centres as they are: metres from the sample, z along the beam.

    x, y, z are arrays (slow, fast) or (module, slow, fast); each may be one number.
    `modules` is by default the `module` coordinate of `x`; `distance` the place where
    the solid angle is 1 (by default that of the panels).
    """
    positions = stacked(x, y, z)
    check_places(positions)
    if distance is not None:
        distance = checked(distance, "distance", DISTANCE)
    return cls(
        positions.shape[1:],
        positions=positions,
        modules=numbers_of(x) if modules is None else as_numbers(modules),
        energy=photon_energy(energy, wavelength),
        distance=distance,
        handedness=handedness,
    )


@entry(own=("x", "y", "z"))
def lcls(
    cls: type[Places],
    x: Values,
    y: Values,
    z: Values | None = None,
    *,
    centre: Pair,
    distance: float,
    tilt: Pair = (0.0, 0.0),
    energy: float | None = None,
    wavelength: float | None = None,
) -> Places:
    """Place psana pixel coordinates; lengths in m, angles in rad.

    `centre` is where the beam hits, in the detector's coordinates; the mean z of the
    pixels lies at `distance`; `tilt` is (tx, ty). Without z (Rayonix and other cameras)
    the detector is a plane.
    """
    given = stacked(x, y, 0.0 if z is None else z)
    distance = checked(distance, "distance", DISTANCE)
    check_places(given, distance, centre=max(map(abs, centre)))
    for angle in tilt:
        if angle:
            checked(abs(angle), "tilt", ANGLE)
    positions, normal = tilted(given, centre, distance, tilt)
    return cls(
        positions.shape[1:],
        positions=positions,
        modules=numbers_of(x),
        energy=photon_energy(energy, wavelength),
        distance=float(distance),
        normal=normal,
        handedness="psana detector coordinates turned by the tilt; z along the beam",
    )


@entry
def from_quad_positions(
    cls: type[Places],
    /,
    detector: str,
    quads: Sequence[Pair],
    *,
    distance: float | None = None,
    energy: float | None = None,
    wavelength: float | None = None,
    **gaps: Any,
) -> Places:
    """Place AGIPD1M, LPD1M or DSSC1M by the corners of its four quadrants.

    `detector` may be a name such as ``"SPB_DET_AGIPD1M-1"``. Positions (x, y) and gaps
    are in pixels for AGIPD, in mm for LPD and DSSC; the corners are those of
    EXtra-geom. Options: `asic_gap`, `panel_gap`, `unit` (metres per unit), see
    `xfelred.geometry.detectors.quadrant_panels`. For AGIPD500K2G give one position,
    that of the beam from the bottom right corner.
    """
    found, layout = detectors.with_layout(detector)
    panels = detectors.quadrant_panels(found, layout, quads, **gaps)
    unit = unit_name(gaps.get("unit") or layout.unit)
    check_apart(panels, lambda m: m // 4, "quadrant", unit, QUADRANTS_SPREAD)
    return from_panels(
        cls,
        panels,
        found.shape,
        modules=range(found.shape[0]),
        distance=distance,
        energy=photon_energy(energy, wavelength),
    )


def unit_name(metres: float) -> str:
    """Return what a unit of positions is called: mm, or pixels of a size."""
    names = {1.0: "m", 1e-3: "mm", 1e-6: "um"}
    return names.get(metres, f"pixels of {metres * 1e3:g} mm")


@entry
def from_module_positions(
    cls: type[Places],
    offsets: Sequence[Pair],
    orientations: Sequence[tuple[int, int]] | None = None,
    *,
    asic_gap: float = 2.0,
    unit: float | None = None,
    distance: float | None = None,
    energy: float | None = None,
    wavelength: float | None = None,
    modules: Iterable[int] | None = None,
) -> Places:
    """Place JUNGFRAU modules by their bottom, beam-right corners.

    Offsets and gap are in pixels (or in `unit` metres); `orientations` are the signs
    of the fast and the slow direction along x and y, by default (1, 1).
    """
    panels = detectors.jungfrau_panels(
        offsets, orientations, asic_gap=asic_gap, unit=unit
    )
    length = unit or JUNGFRAU_LAYOUT.unit
    check_apart(panels, lambda m: m, "module", unit_name(length))
    return from_panels(
        cls,
        panels,
        (len(offsets), *JUNGFRAU.shape[1:]),
        modules=modules,
        distance=distance,
        energy=photon_energy(energy, wavelength),
    )


@entry
def from_panels(
    cls: type[Places],
    panels: Sequence[Panel],
    shape: Shape,
    *,
    distance: float | None = None,
    energy: float | None = None,
    modules: Iterable[int] | None = None,
) -> Places:
    """Take panels whose z counts from the detector, and move them to `distance`."""
    if distance is not None:
        distance = checked(distance, "distance", DISTANCE)
    return cls(
        shape,
        tuple(panel.moved(distance or 0.0) for panel in panels),
        modules=as_numbers(modules),
        energy=energy,
        distance=distance,
        placed=distance is not None,
        handedness=LABORATORY_AXES,
    )


@entry
def from_crystfel(
    cls: type[Places],
    path: str | Path,
    *,
    clen: float | None = None,
    energy: float | None = None,
    wavelength: float | None = None,
    modules: Iterable[int] | None = None,
) -> Places:
    """Read a CrystFEL geometry file (.geom).

    `clen` (m), `energy` and `wavelength` win over the file, and are needed where it
    only names a place in the data. Modules stacked along slow_scan are taken apart as
    the data have them, all of them in their order; with `modules`, the hardware numbers
    of all, at once, so that any of them are found by number. The distance is that of
    the pixels, clen + coffset.

    Bad regions, panels with `no_index` and `mask_edge_pixels` are in the property
    `bad_pixels`, to be given to operations; nothing applies them by itself. A warning
    names what is not understood, and masks that are kept elsewhere.
    """
    given = photon_energy(energy, wavelength)
    file = crystfel.read_crystfel(path, clen=clen, energy=given)
    out = cls(
        file.shape,
        file.panels,
        modules=file.modules,
        energy=file.energy,
        distance=file.distance,
        bad=file.bad,
        handedness=LABORATORY_AXES,
        groups=file.groups,
    )
    return out if modules is None else out.numbered(as_numbers(modules) or ())


@entry
def from_extra_geom(
    cls: type[Places],
    geometry: Any,
    *,
    distance: float | None = None,
    energy: float | None = None,
    wavelength: float | None = None,
    modules: Iterable[int] | None = None,
) -> Places:
    """Take the positions of a geometry of EXtra-geom.

    Its z counts from the detector: give `distance`. Modules of the 1M detectors are
    numbered from 0, others need `modules`, or are matched by position.
    """
    must_have(
        "Geometry.from_extra_geom",
        "geometry",
        geometry,
        "get_pixel_positions",
        "a geometry of EXtra-geom",
    )
    if distance is not None:
        distance = checked(distance, "distance", DISTANCE)
    xyz = np.moveaxis(np.asarray(geometry.get_pixel_positions()), -1, 0)
    panels = exact_panels(find_panels(xyz), getattr(geometry, "modules", ()))
    xyz[2] += distance or 0.0
    numbered = "1M" in getattr(geometry, "detector_type_name", "")
    default = range(xyz.shape[1]) if numbered else None
    return cls(
        xyz.shape[1:],
        tuple(panel.moved(distance or 0.0) for panel in panels),
        positions=xyz,
        modules=as_numbers(default if modules is None else modules),
        energy=photon_energy(energy, wavelength),
        distance=distance,
        placed=distance is not None,
        handedness=LABORATORY_AXES,
    )


def exact_panels(
    panels: Sequence[Panel], modules: Sequence[Sequence[Any]]
) -> tuple[Panel, ...]:
    """Return panels with the vectors of EXtra-geom's tiles, to the last bit.

    Vectors found from positions differ from them by rounding errors, which would decide
    where a tile goes that lies half way between two pixels of an assembled image.
    """
    out = []
    for panel in panels:
        tiles = modules[panel.module] if panel.module < len(modules) else ()
        near = [
            replace(
                panel,
                corner=vector(tile.corner_pos),
                slow_step=vector(tile.ss_vec),
                fast_step=vector(tile.fs_vec),
            )
            for tile in tiles
            if np.allclose(tile.corner_pos, panel.corner, rtol=0, atol=1e-9)
        ]
        out.append(near[0] if near else panel)
    return tuple(out)
