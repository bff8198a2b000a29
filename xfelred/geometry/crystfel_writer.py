"""Writer of CrystFEL geometry files (.geom)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xfelred.entries import entry
from xfelred.errors import (
    GeometryMismatchError,
    MissingConstantError,
    NoAccessError,
    OutputError,
    OutputExistsError,
)
from xfelred.geometry.panels import Panel, Vector
from xfelred.geometry.pixel_places import PixelPlaces, check_placed
from xfelred.kernels.arrays import Bools

# Where `write_virtual_cxi` and others put frames (frame, module, slow_scan, fast_scan).
CXI_DATA = "/entry_1/data_1/data"
# Where `write_hits` puts them as (frame, ss, fs), and the peaks.
HITS_DATA, HITS_PEAKS = "/entry_1/data_2/data", "/entry_1/result_1"
Rectangle = tuple[int, int, int, int]  # first and last row, first and last column


@entry
def to_crystfel(
    self: PixelPlaces,
    path: str | Path,
    *,
    data: str | None = None,
    stacked: bool = False,
    adu_per_ev: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a CrystFEL geometry file (.geom).

    Parameters
    ----------
    path : path
        Of the file.
    data : str, optional
        Where frames are in the data files: (frame, module, slow_scan, fast_scan), or
        without the module axis where there is one module only. By default where
        `xfelred.write_virtual_cxi` puts them, or with `stacked` `xfelred.write_hits`.
    stacked : bool
        Frames are (frame, ss, fs) with all modules on top of each other, to which the
        peaks in files of `xfelred.write_hits` belong, which are named, too.
    adu_per_ev : float, optional
        Detector gain.
    overwrite : bool
        Replace a file of this name.

    Returns
    -------
    Path

    Raises
    ------
    MissingConstantError
        If pixels do not lie on straight lattices, are hexagons, or the distance from
        the sample is not known.
    OutputExistsError
        If there is such a file and `overwrite` is false.

    Notes
    -----
    Positions are written as they are. CrystFEL takes x to the left looking along the
    beam and y up; a comment says what they mean here. Bad pixels are written as
    rectangles.
    """
    path = Path(path)
    check_panels(self)
    if os.path.exists(path) and not overwrite:
        raise OutputExistsError(f"{path} exists; pass overwrite=True to replace it")
    apart = self.known_shape[0] > 1 and not stacked
    where = data or (HITS_DATA if stacked else CXI_DATA)
    lines = [*header(self, where, adu_per_ev, apart=apart)]
    lines += [f"peak_list = {HITS_PEAKS}", ""] if stacked else [""]
    names, places = panel_names(self.lattice), module_places(self)
    tops = [places[p.module] * self.known_shape[1] * stacked for p in self.lattice]
    for panel, name, top in zip(self.lattice, names, tops, strict=True):
        place = [f"{name}/dim1 = {places[panel.module]}"] if apart else []
        lines += [*place, *panel_lines(self, panel, name, top), ""]
    lines += group_lines(self, names)
    if self.bad is not None:
        for panel, name, top in zip(self.lattice, names, tops, strict=True):
            lines += bad_lines(panel, name, self.bad[panel.region], top)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except PermissionError as error:
        raise NoAccessError(
            f"cannot write to path={path}: {error.strerror}. Choose a"
            " directory in which you may write, or ask its owner"
        ) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"cannot write to path={path}: {why}") from error
    return path


def check_panels(geometry: PixelPlaces) -> None:
    check_placed(geometry, reference=True)
    if not geometry.lattice or any(p.stagger for p in geometry.lattice):
        raise MissingConstantError(
            "CrystFEL describes rectangles of square or oblong pixels on straight"
            " lattices; this geometry has hexagons, or pixels at irregular positions"
        )
    covered = np.zeros(geometry.known_shape, np.int8)
    for panel in geometry.lattice:
        covered[panel.region] += 1
    if (covered > 1).any():
        raise GeometryMismatchError("panels of the geometry share pixels")


def module_places(geometry: PixelPlaces) -> list[int]:
    """Return where modules are in files with a place for each one of the detector.

    As in CXI files, those that are counted from 1 begin at the first place.
    """
    n = geometry.known_shape[0]
    numbers = list(geometry.modules or range(n))
    if n > 1 and numbers == list(range(1, n + 1)):
        return list(range(n))
    return numbers if n > 1 else [0]


def header(
    geometry: PixelPlaces, data: str, adu_per_ev: float | None, *, apart: bool
) -> list[str]:
    lines = [
        "; written by xfelred",
        f"; axes: {geometry.handedness}",
        f"clen = {geometry.distance!r}",
        f"data = {data}",
        "dim0 = %",
        *(["dim2 = ss", "dim3 = fs"] if apart else ["dim1 = ss", "dim2 = fs"]),
    ]
    if geometry.energy is not None:
        lines.insert(2, f"photon_energy = {geometry.energy!r}")
    if adu_per_ev is not None:
        lines.append(f"adu_per_eV = {float(adu_per_ev)!r}")
    return lines


def panel_names(panels: tuple[Panel, ...]) -> list[str]:
    """Return the names of panels, made of module and tile where they have none."""
    names = [p.name for p in panels]
    if all(names) and len(set(names)) == len(names):
        return names
    seen: dict[int, int] = {}
    for i, panel in enumerate(panels):
        tile = seen.get(panel.module, 0)
        seen[panel.module] = tile + 1
        names[i] = f"p{panel.module}a{tile}"
    return names


def panel_lines(geometry: PixelPlaces, panel: Panel, name: str, top: int) -> list[str]:
    resolution = 1 / float(np.linalg.norm(panel.fast_step))
    x, y, z = panel.corner
    lines = [
        f"min_fs = {panel.fast[0]}",
        f"max_fs = {panel.fast[1] - 1}",
        f"min_ss = {top + panel.slow[0]}",
        f"max_ss = {top + panel.slow[1] - 1}",
        f"fs = {direction(panel.fast_step, resolution)}",
        f"ss = {direction(panel.slow_step, resolution)}",
        f"corner_x = {x * resolution!r}",
        f"corner_y = {y * resolution!r}",
        f"coffset = {z - (geometry.distance or 0.0)!r}",
        f"res = {resolution!r}",
    ]
    return [f"{name}/{line}" for line in lines]


def direction(step: Vector, resolution: float) -> str:
    """Return a vector in pixels as CrystFEL writes it."""
    parts = [(v * resolution, axis) for v, axis in zip(step, "xyz", strict=True)]
    return " ".join(f"{v:+.12f}{axis}" for v, axis in parts if axis != "z" or v)


def group_lines(geometry: PixelPlaces, names: list[str]) -> list[str]:
    """Return the lines of rigid groups whose panels are all there."""
    groups = {g: p for g, p in geometry.groups.items() if p and set(p) <= set(names)}
    lines = [f"rigid_group_{g} = {','.join(p)}" for g, p in groups.items()]
    if groups:
        lines.append(f"rigid_group_collection_all = {','.join(groups)}")
    return lines


def bad_lines(panel: Panel, name: str, bad: Bools, start: int) -> Iterator[str]:
    start += panel.slow[0]
    for i, (top, bottom, left, right) in enumerate(rectangles(bad)):
        region = f"bad_{name}x{i}"
        yield f"{region}/panel = {name}"
        yield f"{region}/min_ss = {top + start}"
        yield f"{region}/max_ss = {bottom + start}"
        yield f"{region}/min_fs = {left + panel.fast[0]}"
        yield f"{region}/max_fs = {right + panel.fast[0]}"


def rectangles(bad: Bools) -> list[Rectangle]:
    """Return rectangles (limits inclusive) that cover exactly the bad pixels."""
    found: list[Rectangle] = []
    growing: dict[tuple[int, int], int] = {}  # (left, right) -> first row
    for row, line in enumerate([*bad, np.zeros(bad.shape[1], bool)]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]])))
        runs = {(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)}
        ended = growing.keys() - runs
        found += [(growing.pop(run), row - 1, *run) for run in ended]
        for run in runs - growing.keys():
            growing[run] = row
    return sorted(found)
