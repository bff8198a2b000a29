"""Reader of CrystFEL geometry files (.geom).

x points to the left looking along the beam, y up, z along the beam. A position is
``(corner + fs * fast + ss * slow) / res``, with integers at the corners of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from xfelred.errors import MissingConstantError, listing
from xfelred.geometry.crystfel_bad import bad_pixels
from xfelred.geometry.crystfel_keys import warn_of_unused
from xfelred.geometry.crystfel_lines import (
    DIM,
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
from xfelred.geometry.plausible import DISTANCE, ENERGY, PIXEL_SIZE, checked
from xfelred.kernels.arrays import Bools
from xfelred.small_files import read_text

AXES = ("slow", "fast")
NEEDED = ("min_fs", "max_fs", "min_ss", "max_ss", "corner_x", "corner_y", "res")


@dataclass(frozen=True)
class CrystfelFile:
    """What a geometry file says."""

    panels: tuple[Panel, ...]  # their z includes the camera length
    resolution: Mapping[str, float]  # pixels per metre of each panel
    shape: Shape  # (module, slow, fast); smallest array that holds every panel
    # index of the module dimension in the data, if there is one
    modules: tuple[int, ...] | None
    # from the sample in metres, with the offsets of the panels: mean z of the pixels
    distance: float
    energy: float | None  # photon energy in eV, if it is a number in the file
    # groups and collections: rigid groups (panel names) and their collections (group
    # names)
    groups: Mapping[str, tuple[str, ...]]
    collections: Mapping[str, tuple[str, ...]]
    # bool (module, slow, fast); pixels that the file calls bad, or that are in no panel
    bad: Bools
    values: Mapping[str, str]  # first value of every other parameter, as text


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
    text = read_text(path, "CrystFEL geometry", errors="replace")
    sections = sorted_lines(str(path), text)
    if not sections.panels:
        raise sections.fail(0, "no panel found; wanted lines such as 'p0/min_fs = 0'")
    warn_of_unused(sections)
    numbers, layers = module_layers(sections)
    panels = tuple(
        make_panel(sections, name, entries, layers[name], clen)
        for name, entries in sections.panels.items()
    )
    distance = panel_distance(sections, panels)
    n_slow, n_fast = (max(getattr(p, axis)[1] for p in panels) for axis in AXES)
    shape = (1 + max(layers.values()), n_slow, n_fast)
    return CrystfelFile(
        panels=panels,
        resolution={
            name: sections.number(e["res"], "res")
            for name, e in sections.panels.items()
        },
        shape=shape,
        modules=numbers,
        distance=distance,
        energy=beam_energy(sections) if energy is None else energy,
        groups=sections.groups,
        collections=sections.collections,
        bad=bad_pixels(sections, panels, shape),
        values={k: e.text for k, e in {**sections.defaults, **sections.top}.items()},
    )


def panel_distance(sections: Sections, panels: tuple[Panel, ...]) -> float:
    """Return the distance from the sample: mean z of all pixels in metres.

    Not `clen`: at LCLS that is the reading of an encoder, and `coffset` what it lacks.
    """
    sizes = [panel.shape[0] * panel.shape[1] for panel in panels]
    middle = [panel.centre_z for panel in panels]
    distance = middle[0]  # an average of equal numbers may differ in the last digit
    if min(middle) < max(middle):
        distance = float(np.average(middle, weights=sizes))
    if not distance > 0:
        name, z = min(zip(sections.panels, middle, strict=True), key=lambda x: x[1])
        entries = sections.panels[name]
        found = ", ".join(
            f"{key} = {entries[key].text}" if key in entries else f"no {key}"
            for key in ("clen", "coffset")
        )
        raise sections.fail(
            entries["clen"].line if "clen" in entries else 0,
            f"panel {name!r} lies at z = {z:g} m, not behind the sample ({found}); z is"
            " clen + coffset, and clen may be the reading of an encoder",
        )
    return checked(distance, "clen + coffset", DISTANCE, sections.path)


def make_panel(
    sections: Sections,
    name: str,
    entries: Mapping[str, Entry],
    module: int,
    clen: float | None,
) -> Panel:
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
    checked(1 / resolution, f"{name}: 1 / res", PIXEL_SIZE, sections.path)
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
    if clen is not None:
        return float(clen)
    entry = sections.panels[panel].get("clen")
    value = None if entry is None else sections.quantity(entry, "clen", LENGTH_UNITS)
    if value is None:
        found = f"clen = {entry.text}, not a length," if entry else "no clen"
        offset = sections.panels[panel].get("coffset")
        added = f"; coffset = {offset.text} is added to it" if offset else ""
        raise MissingConstantError(
            f"{sections.path}: {found} for panel {panel!r}; give the camera length:"
            f" Geometry.from_crystfel(path, clen=<metres>){added}"
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


SAME_ENERGY = 1e-3  # relative; files round both


def beam_energy(sections: Sections) -> float | None:
    """Return the photon energy in eV, or None if the file holds no number for it."""
    if "photon_energy" in sections.top:
        entry = sections.top["photon_energy"]
        # A path may carry a unit: '/LCLS/photon_energy_eV eV'.
        value = sections.quantity(entry, "photon_energy", ENERGY_UNITS)
        if value is not None:
            value = checked(value, "photon_energy", ENERGY, sections.path)
            check_one_energy(sections, value)
        return value
    if "wavelength" in sections.top:
        entry = sections.top["wavelength"]
        value = sections.quantity(entry, "wavelength", WAVELENGTH_UNITS)
        return None if value is None else wavelength_to_energy(value)
    return None


def check_one_energy(sections: Sections, energy: float) -> None:
    """Raise InconsistentDataError if the file has a wavelength of another energy."""
    entry = sections.top.get("wavelength")
    value = entry and sections.quantity(entry, "wavelength", WAVELENGTH_UNITS)
    if not entry or not value:
        return
    other = wavelength_to_energy(value)
    if abs(other / energy - 1) > SAME_ENERGY:
        raise sections.fail(
            entry.line,
            f"wavelength = {entry.text!r} is {other:.6g} eV, but photon_energy is"
            f" {energy:.6g} eV; leave out one of them",
        )


def check_axes(sections: Sections, name: str, entries: Mapping[str, Entry]) -> None:
    """Raise InconsistentDataError unless fast scan comes last of the data axes."""
    axes = {e.text: (int(k[3:]), e) for k, e in entries.items() if DIM.fullmatch(k)}
    if "ss" in axes and "fs" in axes and axes["fs"][0] < axes["ss"][0]:
        raise sections.fail(
            axes["fs"][1].line,
            f"panel {name!r} has fs on dim{axes['fs'][0]} and ss on dim{axes['ss'][0]};"
            " fs is the axis that changes fastest: it comes after ss",
        )


def module_layers(sections: Sections) -> tuple[tuple[int, ...] | None, dict[str, int]]:
    """Return module numbers (None if unnamed) and the module position of each panel.

    Modules are told apart by the one data dimension that has a fixed index which
    differs between panels, or else by the data path.
    """
    indices: dict[str, dict[str, int]] = {}
    for name, entries in sections.panels.items():
        check_axes(sections, name, entries)
        indices[name] = {
            key: sections.integer(entry, key)
            for key, entry in entries.items()
            if DIM.fullmatch(key) and entry.text not in {"ss", "fs", "%"}
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
