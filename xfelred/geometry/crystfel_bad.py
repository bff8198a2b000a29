"""Bad pixels of a CrystFEL geometry file: regions, panels and borders of panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xfelred.errors import listing
from xfelred.geometry.crystfel_lines import DIM, Entry, Sections
from xfelred.geometry.panels import Panel, Shape
from xfelred.kernels.arrays import Array, Bools

TRUTH = {"true": True, "false": False}


@dataclass(frozen=True)
class BadRegion:
    """A rectangle of bad pixels, limits inclusive."""

    # True: limits in data coordinates (fs, ss); False: in the laboratory (x, y), in
    # pixels
    on_data: bool
    # first and second: (min, max); limits along fs or x, and along ss or y
    first: tuple[float, float]
    second: tuple[float, float]
    panels: frozenset[str]  # panels that the region is confined to


def bad_pixels(sections: Sections, panels: Sequence[Panel], shape: Shape) -> Bools:
    """Return the pixels that a file calls bad, bool (module, slow, fast).

    These are pixels of panels with `no_index`, the outer `mask_edge_pixels` of panels,
    pixels in bad regions, and those in no panel. Limits along fs and ss count in the
    data array of the file; those along x and y are the position of a pixel's centre, in
    pixels. All are inclusive.
    """
    regions = [bad_region(sections, name) for name in sections.bad]
    bad = np.ones(shape, dtype=bool)
    for panel in panels:
        entries = sections.panels[panel.name]
        marked = np.full(panel.shape, flag(sections, entries.get("no_index")))
        edge = edge_width(sections, entries.get("mask_edge_pixels"))
        if edge:
            inner = marked[edge:-edge, edge:-edge].copy()
            marked[:] = True
            marked[edge:-edge, edge:-edge] = inner
        for region in regions:
            if panel.name in region.panels:
                marked |= inside(sections, region, panel)
        bad[panel.region] = marked
    return bad


def inside(sections: Sections, region: BadRegion, panel: Panel) -> Bools:
    """Return which pixels (slow, fast) of a panel lie in a region."""
    if region.on_data:
        second = np.arange(*panel.slow, dtype=np.float64)[:, None]
        first = np.arange(*panel.fast, dtype=np.float64)[None, :]
    else:
        resolution = sections.number(sections.panels[panel.name]["res"], "res")
        first, second, _ = panel.centres() * resolution
    return between(first, region.first) & between(second, region.second)


def between(values: Array, limits: tuple[float, float]) -> Bools:
    return (values >= limits[0]) & (values <= limits[1])


def flag(sections: Sections, entry: Entry | None) -> bool:
    """Return whether something is switched on: ``true``, or a number but 0."""
    if entry is None:
        return False
    truth = TRUTH.get(entry.text.lower())
    return bool(sections.number(entry, "no_index")) if truth is None else truth


def edge_width(sections: Sections, entry: Entry | None) -> int:
    """Return how many pixels at the border of a panel are bad."""
    width = 0 if entry is None else sections.integer(entry, "mask_edge_pixels")
    if entry is not None and width < 0:
        raise sections.fail(entry.line, f"mask_edge_pixels = {width}; wanted 0 or more")
    return width


def bad_region(sections: Sections, name: str) -> BadRegion:
    """Return one bad region, or raise where limits are missing or contradict."""
    entries = sections.bad[name]
    line = max((e.line for e in entries.values()), default=0)
    frames = {
        on_data: [f"{end}_{axis}" for axis in axes for end in ("min", "max")]
        for on_data, axes in ((True, ("fs", "ss")), (False, ("x", "y")))
    }
    named = [f for f, keys in frames.items() if any(key in entries for key in keys)]
    if len(named) != 1 or any(key not in entries for key in frames[named[0]]):
        raise sections.fail(
            line,
            f"bad region {name!r} has {listing(entries)}; wanted min and max of fs and"
            " ss, or of x and y",
        )
    keys = frames[named[0]]
    low1, high1, low2, high2 = (sections.number(entries[k], k) for k in keys)
    if low1 > high1 or low2 > high2:
        limits = listing(f"{key} = {entries[key].text}" for key in keys)
        raise sections.fail(line, f"bad region {name!r} holds nothing: {limits}")
    panels = frozenset(region_panels(sections, name))
    return BadRegion(named[0], (low1, high1), (low2, high2), panels)


def region_panels(sections: Sections, name: str) -> list[str]:
    """Return the panels that a bad region is confined to.

    By its `panel`, and by the index of the module where it has one (``dim1 = 3``).
    """
    entries, chosen = sections.bad[name], list(sections.panels)
    if "panel" in entries:
        panel = entries["panel"].text
        if panel not in sections.panels:
            raise sections.fail(
                entries["panel"].line, f"{name!r} is on unknown panel {panel!r}"
            )
        chosen = [panel]
    for key, entry in entries.items():
        if not DIM.fullmatch(key) or entry.text in {"ss", "fs", "%"}:
            continue
        index = sections.integer(entry, key)
        here = {p: sections.panels[p].get(key) for p in chosen}
        # The index that an axis of a panel is fixed at, if it is at any.
        fixed = {p: e.text for p, e in here.items() if e is not None}
        chosen = [p for p, t in fixed.items() if t.isdecimal() and int(t) == index]
        if not chosen:
            raise sections.fail(
                entry.line,
                f"bad region {name!r} has {key} = {entry.text}, which no panel has;"
                f" {key} of panels: {listing(sorted({*fixed.values()}))}",
            )
    return chosen
