"""Names of detectors: one table for all that goes by the kind of a detector.

What a kind is good for (its gain, common modes, segment) stands where it is used; here
stands only which names mean the same, and what a detector is when nothing more special
is known of it.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from itertools import chain

from xfelred.errors import ArgumentError, did_you_mean

# Kind, and its other names in lower case without signs. Names of LCLS detectors are
# those of psana, of the configuration files of smalldata_tools and of the calibration
# suite; sizes, such as the 4M of jungfrau4M, need no entry.
NAMES: dict[str, tuple[str, ...]] = {
    "jungfrau": ("jungfrauemu", "jf"),
    "epix10ka": ("epix10k", "epixquad"),
    "epixhr": ("epixhremu",),
    "epix100": ("epix100a",),
    "epixm": ("epixm320",),
    "epixuhr": (),
    "cspad": (),
    "cspad2x2": ("cs140k", "cspad140k"),
    "cspad2x1": (),
    "pnccd": (),
    "uxi": (),
    "icarus": (),
    "archon": (),
    "istar": (),
    "opal": (),
    "zyla": (),
    "andor": (),
    "andor3d": (),
    "princeton": (),
    "alvium": (),
    "rayonix": (),
    "axis": (),
    "piranha": ("piranha4",),
    "camera": (),
    "mpccd": (),
    "agipd": (),
    "lpd": (),
    "dssc": (),
    "jungfrau_euxfel": (),
}
CAMERAS = ("uxi", "icarus", "archon", "istar", "opal", "zyla", "andor", "andor3d",
           "princeton", "alvium", "rayonix", "axis", "piranha", "mpccd")  # fmt: skip
# What stands for a kind where it has no entry of its own.
ELSE: dict[str, tuple[str, ...]] = {
    "cspad": ("cspad2x1",),
    "cspad2x1": ("cspad",),
    "cspad2x2": ("cspad2x1", "cspad"),
    "jungfrau_euxfel": ("jungfrau",),
    **dict.fromkeys(CAMERAS, ("camera",)),
}
CANONICAL = {
    re.sub(r"[^a-z0-9]", "", other): kind
    for kind, others in NAMES.items()
    for other in (kind, *others)
}
# The first ePix, called so and numbered in its beam lines: epix, epix_1, epix_alc2.
EPIX, FIRST_EPIX = re.compile(r"epix\d{0,2}"), "epix100"
SHORT = 4  # letters, which may be a part of any word
# How large a detector is: jungfrau05M, epix10k2M, epix10kaQuad, epixhr1x4, opal8000.
SIZE = re.compile(r"(\d+(\.\d+)?[km]|\d+x\d+|quad|\d+)$")


def plain(name: str) -> str:
    """Return a name in lower case without signs."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def candidates(name: str) -> tuple[str, ...]:
    """Return the kinds that a name means, the most special one first; () if unknown.

    Examples
    --------
    >>> candidates("epix10k2M")
    ('epix10ka',)
    >>> candidates("Icarus")
    ('icarus', 'camera')
    """
    short = plain(name)
    kind = FIRST_EPIX if EPIX.fullmatch(short) else CANONICAL.get(short)
    while kind is None and SIZE.search(short):
        short = SIZE.sub("", short)
        kind = CANONICAL.get(short)
    return () if kind is None else (kind, *ELSE.get(kind, ()))


def known_as(name: str, known: Iterable[str], what: str, advice: str = "") -> str:
    """Return which of some kinds a name means.

    Parameters
    ----------
    name : str
        In any spelling, with or without the size of the detector.
    known : iterable of str
        The kinds that there are to choose from.
    what, advice : str
        For the error: what the name stands for, and what to do otherwise.

    Raises
    ------
    ValueError
        If it is none of them.
    """
    kinds = list(known)
    found = first_of(candidates(name), kinds)
    if found is not None:
        return found
    others = [other for other, kind in CANONICAL.items() if kind in kinds]
    hint = did_you_mean(plain(name), kinds) or did_you_mean(plain(name), others)
    raise ArgumentError(
        f"{what} {name!r} is not known; wanted one of {', '.join(kinds)}.{hint}{advice}"
    )


def first_of(names: Iterable[str], known: Container[str]) -> str | None:
    """Return the first name that is known, None if none is."""
    return next((n for n in names if n in known), None)


def told_by(name: str) -> str:
    """Return the kind that the name of a detector in a run tells, "" if none.

    Examples
    --------
    >>> told_by("XppGon.0:Epix100a.1"), told_by("epix_alc2"), told_by("det")
    ('epix100', 'epix100', '')
    """
    longest = sorted(CANONICAL, key=len, reverse=True)
    words = [plain(word) for word in re.split(r"[^A-Za-z0-9]+", str(name))]
    begins = (n for n in longest if any(word.startswith(n) for word in words))
    # Inside a word only long names: uxi is a part of flux_i0.
    inside = (n for n in longest if len(n) > SHORT and n in plain(name))
    found = CANONICAL.get(next(chain(begins, inside), ""), "")
    return found or (FIRST_EPIX if any(map(EPIX.fullmatch, words)) else "")
