"""What a CrystFEL geometry file says that is not understood, or not applied: a warning.

Names of parameters: manual page crystfel_geometry(5) of CrystFEL, versions 0.5 to 0.11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from xfelred.errors import did_you_mean, listing, warn
from xfelred.geometry.crystfel_lines import DIM, GLOBAL_KEYS, Entry, Sections

LIMITS = frozenset({"min_fs", "max_fs", "min_ss", "max_ss"})
# Of panels. Those of peaks, intensities and refinement do not touch positions.
PANEL_KEYS = LIMITS | {
    "adu_per_eV",
    "adu_per_photon",
    "badrow_direction",
    "clen",
    "coffset",
    "corner_x",
    "corner_y",
    "data",
    "fs",
    "mask_edge_pixels",
    "max_adu",
    "no_index",
    "rail_direction",
    "res",
    "rigid_group",
    "saturation_map",
    "saturation_map_file",
    "ss",
}
BAD_KEYS = LIMITS | {"min_x", "max_x", "min_y", "max_y", "panel"}
# Bad pixels that are found in the data, or in another file.
MASKS = re.compile(
    r"mask|mask_(file|good|bad)|mask\d+_(data|file|goodbits|badbits)"
    r"|flag_(lessthan|morethan|equal)"
)


def warn_of_unused(sections: Sections) -> None:
    """Say, in a warning each, what is not understood and which masks are not read."""
    unknown = [
        f"{name} (line {entry.line}){did_you_mean(name.rpartition('/')[2], known)}"
        for name, entry, known in unknown_keys(sections)
    ]
    if unknown:
        warn(f"{sections.path}: not understood and left out: {listing(unknown)}")
    late = [
        f"{key} (line {entry.line})"
        for key, entry in sections.defaults.items()
        if key in PANEL_KEYS and not reaches_a_panel(sections, key, entry)
    ]
    if late:
        warn(
            f"{sections.path}: {listing(late)} stand behind all panels, and without a"
            " panel; a value holds for panels that are first named after it: these have"
            " no effect"
        )
    masks = {
        f"{key} = {entry.text} (line {entry.line})": None
        for entries in (sections.defaults, *sections.panels.values())
        for key, entry in entries.items()
        if MASKS.fullmatch(key)
    }
    if masks:
        warn(
            f"{sections.path}: bad pixels that are marked elsewhere are not read:"
            f" {listing(masks)}. Read that mask and give it to operations as"
            " bad_pixels=, together with those of the geometry:"
            " masks.combine(geometry.bad_pixels, ...)"
        )


def unknown_keys(
    sections: Sections,
) -> Iterator[tuple[str, Entry, frozenset[str]]]:
    """Yield (name, entry, known names) of what is not understood, each line once."""
    seen = set()
    tables = (
        ("", sections.defaults, PANEL_KEYS | GLOBAL_KEYS),
        *((f"{n}/", entries, PANEL_KEYS) for n, entries in sections.panels.items()),
        *((f"{n}/", entries, BAD_KEYS) for n, entries in sections.bad.items()),
    )
    for owner, entries, known in tables:
        for key, entry in entries.items():
            understood = key in known or DIM.fullmatch(key)
            if known is not BAD_KEYS:
                understood = understood or MASKS.fullmatch(key)
            if not understood and entry.line not in seen:
                seen.add(entry.line)
                yield f"{owner}{key}", entry, known


def reaches_a_panel(sections: Sections, key: str, entry: Entry) -> bool:
    """Tell whether a value without a panel is that of any panel."""
    return any(
        panel.get(key) is entry or (key in panel and panel[key].line > entry.line)
        for panel in sections.panels.values()
    )
