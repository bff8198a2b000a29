"""Reader of CrystFEL geometry files (.geom).

x points to the left looking along the beam, y up, z along the beam. A position is
``(corner + fs * fast + ss * slow) / res``, with integers at the corners of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import MissingConstantError, listing
from xfelred.geometry.crystfel_lines import (
    ENERGY_UNITS,
    LENGTH_UNITS,
    NUMBER,
    WAVELENGTH_UNITS,
    Entry,
    Sections,
    direction,
    sorted_lines,
)
from xfelred.geometry.energy import wavelength_to_energy
from xfelred.geometry.panels import Panel, Shape, vector

AXES = ("slow", "fast")
NEEDED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "res")


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of bad pixels, limits inclusive.

    Attributes
    ----------
    name : str
        Name in the file.
    on_data : bool
        True: limits in data coordinates (fs, ss); False: in the laboratory (x, y),
        in pixels.
    first, second : (min, max)
        Limits along fs or x, and along ss or y.
    panel : str
        Panel that the region is confined to; empty for all.
    """

    name: str
    on_data: bool
    first: tuple[float, float]
    second: tuple[float, float]
    panel: str = ""


@dataclass(frozen=True)
class CrystfelFile:
    """What a geometry file says.

    Attributes
    ----------
    panels : tuple of Panel
        Their z includes the camera length.
    origins : dict
        First (slow, fast) data index of each panel, as in the file.
    resolution : dict
        Pixels per metre of each panel.
    shape : (module, slow, fast)
        Smallest array that holds every panel.
    modules : tuple of int, or None
        Index of the module dimension in the data, if there is one.
    distance : float
        Camera length in metres.
    energy : float or None
        Photon energy in eV, if it is a number in the file.
    groups, collections : dict
        Rigid groups (panel names) and their collections (group names).
    bad : tuple of BadRegion
    values : dict
        First value of every other parameter, as text.
    """

    panels: tuple[Panel, ...]
    origins: Mapping[str, tuple[int, int]]
    resolution: Mapping[str, float]
    shape: Shape
    modules: tuple[int, ...] | None
    distance: float
    energy: float | None
    groups: Mapping[str, tuple[str, ...]]
    collections: Mapping[str, tuple[str, ...]]
    bad: tuple[BadRegion, ...]
    values: Mapping[str, str]


def read_crystfel(
    path: str | Path, *, clen: float | None = None, energy: float | None = None
) -> CrystfelFile:
    """Read a CrystFEL geometry file.

    Parameters
    ----------
    path : path
        Of the .geom file.
    clen : float, optional
        Camera length in metres; needed where the file gives a path in the data instead
        of a number, and wins over it.
    energy : float, optional
        Photon energy in eV; wins over that of the file.

    Raises
    ------
    InconsistentDataError
        If a line cannot be understood; names the file and the line.
    MissingConstantError
        If the camera length is not in the file and not given.
    """
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    sections = sorted_lines(str(path), text)
    if not sections.panels:
        raise sections.fail(0, "no panel found; wanted lines such as 'p0/min_fs = 0'")
    numbers, layers = module_layers(sections)
    panels = tuple(
        make_panel(sections, name, entries, layers[name], clen)
        for name, entries in sections.panels.items()
    )
    limits = {
        name: [sections.integer(e[key], key) for key in NEEDED[:4]]
        for name, e in sections.panels.items()
    }
    n_slow, n_fast = (max(getattr(p, axis)[1] for p in panels) for axis in AXES)
    return CrystfelFile(
        panels=panels,
        origins={name: (low[2], low[0]) for name, low in limits.items()},
        resolution={
            name: sections.number(e["res"], "res")
            for name, e in sections.panels.items()
        },
        shape=(1 + max(layers.values()), n_slow, n_fast),
        modules=numbers,
        distance=camera_length(sections, next(iter(sections.panels)), clen),
        energy=beam_energy(sections) if energy is None else energy,
        groups=sections.groups,
        collections=sections.collections,
        bad=tuple(bad_region(sections, name) for name in sections.bad),
        values={k: e.text for k, e in {**sections.defaults, **sections.top}.items()},
    )


def make_panel(
    sections: Sections,
    name: str,
    entries: Mapping[str, Entry],
    module: int,
    clen: float | None,
) -> Panel:
    """Return one panel in metres, or raise for what is missing or malformed."""
    last = max((e.line for e in entries.values()), default=0)
    missing = [key for key in NEEDED if key not in entries]
    if missing:
        raise sections.fail(last, f"panel {name!r} lacks {listing(missing)}")
    min_fs, max_fs, min_ss, max_ss = (
        sections.integer(entries[key], key) for key in NEEDED[:4]
    )
    if max_fs < min_fs or max_ss < min_ss or min_fs < 0 or min_ss < 0:
        raise sections.fail(
            entries["max_fs"].line,
            f"panel {name!r} spans fs {min_fs} to {max_fs}, ss {min_ss} to {max_ss}",
        )
    corner_x, corner_y, resolution = (
        sections.number(entries[key], key) for key in NEEDED[4:]
    )
    if resolution <= 0:
        raise sections.fail(entries["res"].line, f"res = {resolution}; wanted pixels/m")
    z = camera_length(sections, name, clen)
    if "coffset" in entries:
        z += sections.quantity(entries["coffset"], "coffset", LENGTH_UNITS) or 0.0
    shift_x, shift_y = (shift(sections, f"detector_shift_{axis}") for axis in "xy")
    fs = direction(sections, entries.get("fs"), (1.0, 0.0, 0.0))
    ss = direction(sections, entries.get("ss"), (0.0, 1.0, 0.0))
    return Panel(
        module,
        (min_ss, max_ss + 1),
        (min_fs, max_fs + 1),
        (corner_x / resolution + shift_x, corner_y / resolution + shift_y, z),
        vector(v / resolution for v in ss),
        vector(v / resolution for v in fs),
        name=name,
    )


def camera_length(sections: Sections, panel: str, clen: float | None) -> float:
    """Return the camera length of a panel in metres."""
    if clen is not None:
        return float(clen)
    entry = sections.panels[panel].get("clen")
    value = None if entry is None else sections.quantity(entry, "clen", LENGTH_UNITS)
    if value is None:
        found = f"clen = {entry.text}" if entry else "no clen"
        raise MissingConstantError(
            f"{sections.path}: {found} for panel {panel!r}, which is not a length;"
            " give the camera length: Geometry.from_crystfel(path, clen=<metres>)"
        )
    return value


def shift(sections: Sections, key: str) -> float:
    """Return a shift of the whole detector in metres; 0 if there is none."""
    entry = sections.top.get(key)
    if entry is None:
        return 0.0
    value = sections.quantity(entry, key, LENGTH_UNITS)
    if value is None or (value and NUMBER.fullmatch(entry.text)[2] == ""):  # type: ignore[index]
        # Programs disagree whether a bare number is in m or mm.
        raise sections.fail(
            entry.line,
            f"{key} = {entry.text!r}; wanted a length with its unit, m or mm",
        )
    return value


def beam_energy(sections: Sections) -> float | None:
    """Return the photon energy in eV, or None if the file holds no number for it."""
    if "photon_energy" in sections.top:
        entry = sections.top["photon_energy"]
        # A path may carry a unit: '/LCLS/photon_energy_eV eV'.
        return sections.quantity(entry, "photon_energy", ENERGY_UNITS)
    if "wavelength" in sections.top:
        entry = sections.top["wavelength"]
        value = sections.quantity(entry, "wavelength", WAVELENGTH_UNITS)
        return None if value is None else wavelength_to_energy(value)
    return None


def module_layers(
    sections: Sections,
) -> tuple[tuple[int, ...] | None, dict[str, int]]:
    """Return module numbers (None if unnamed) and the module position of each panel.

    Modules are told apart by the one data dimension that has a fixed index which
    differs between panels, or else by the data path.
    """
    indices: dict[str, dict[str, int]] = {}
    for name, entries in sections.panels.items():
        indices[name] = {
            key: sections.integer(entry, key)
            for key, entry in entries.items()
            if re.fullmatch(r"dim\d+", key) and entry.text not in {"ss", "fs", "%"}
        }
    keys = sorted({key for found in indices.values() for key in found})
    varying = [k for k in keys if len({i.get(k) for i in indices.values()}) > 1]
    if len(varying) > 1:
        line = sections.panels[next(iter(indices))][varying[1]].line
        raise sections.fail(
            line, f"panels differ in {listing(varying)}; wanted one module dimension"
        )
    if varying:
        (key,) = varying
        for name, found in indices.items():
            if key not in found:
                raise sections.fail(0, f"panel {name!r} has no index for {key}")
        numbers = sorted({found[key] for found in indices.values()})
        at = {name: numbers.index(found[key]) for name, found in indices.items()}
        return tuple(numbers), at
    paths = [e["data"].text if "data" in e else "" for e in sections.panels.values()]
    order = list(dict.fromkeys(paths))
    return None, {n: order.index(p) for n, p in zip(indices, paths, strict=True)}


def bad_region(sections: Sections, name: str) -> BadRegion:
    """Return one bad region, or raise where limits are missing."""
    entries = sections.bad[name]
    line = max((e.line for e in entries.values()), default=0)
    for on_data, axes in ((True, ("fs", "ss")), (False, ("x", "y"))):
        keys = [f"{end}_{axis}" for axis in axes for end in ("min", "max")]
        if all(key in entries for key in keys):
            low1, high1, low2, high2 = (sections.number(entries[k], k) for k in keys)
            panel = entries["panel"].text if "panel" in entries else ""
            if panel and panel not in sections.panels:
                raise sections.fail(
                    entries["panel"].line, f"{name!r} is on unknown panel {panel!r}"
                )
            return BadRegion(name, on_data, (low1, high1), (low2, high2), panel)
    raise sections.fail(
        line,
        f"bad region {name!r} has {listing(entries)}; wanted min and max of fs and ss,"
        " or of x and y",
    )


def bad_pixels(file: CrystfelFile) -> NDArray[np.bool_]:
    """Return the pixels in bad regions or in no panel, bool (module, slow, fast).

    Limits along fs and ss count in the data array of the file; those along x and y are
    the position of a pixel's centre, in pixels. All are inclusive.
    """
    bad = np.ones(file.shape, dtype=bool)
    for panel in file.panels:
        marked = np.zeros(panel.shape, dtype=bool)
        ss = np.arange(panel.slow[0], panel.slow[1])[:, None]
        fs = np.arange(panel.fast[0], panel.fast[1])[None, :]
        x, y, _ = panel.centres() * file.resolution[panel.name]
        for region in file.bad:
            if region.panel in {"", panel.name}:
                first, second = (fs, ss) if region.on_data else (x, y)
                marked |= between(first, region.first) & between(second, region.second)
        bad[panel.region] = marked
    return bad


def between(values: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.bool_]:
    """Return where `values` lie within `limits`, inclusive."""
    return (values >= limits[0]) & (values <= limits[1])
