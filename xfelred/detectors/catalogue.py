"""All detectors, and the one look-up of a detector by any of its names.

Names of LCLS detectors are those of psana, of configuration files of smalldata_tools
and of the calibration suite; those of the European XFEL also begin its source names.
"""

from __future__ import annotations

import re
from itertools import chain

from xfelred.detectors import euxfel, lcls, sacla
from xfelred.detectors.description import Detector
from xfelred.errors import ArgumentError, did_you_mean

CATALOGUE = {d.name: d for d in (*lcls.DETECTORS, *euxfel.DETECTORS, *sacla.DETECTORS)}
# By the name of their class in scripts of the European XFEL.
SOURCES = {d.sources.kind: d.sources for d in CATALOGUE.values() if d.sources}
BY_CLASS = {d.sources.kind: d for d in CATALOGUE.values() if d.sources}
# The first ePix, called so and numbered in its beam lines: epix, epix_1, epix_alc2.
EPIX, FIRST_EPIX = re.compile(r"epix\d{0,2}"), CATALOGUE["epix100"]
SHORT = 4  # letters, which may be a part of any word
# How large a detector is: jungfrau05M, epix10k2M, epix10kaQuad, epixhr1x4, opal8000.
SIZE = re.compile(r"(\d+(\.\d+)?[km]|\d+x\d+|quad|\d+)$")


def plain(name: str) -> str:
    """Return a name in lower case without signs."""
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


BY_NAME = {plain(name): d for d in CATALOGUE.values() for name in (d.name, *d.aliases)}
LONGEST_FIRST = sorted(BY_NAME, key=len, reverse=True)


def find(
    name: str, fact: str = "name", *, what: str = "detector", advice: str = ""
) -> Detector:
    """Return the detector that a name means.

    Parameters
    ----------
    name : str
        In any spelling, with or without the size of the detector; also the name of a
        detector in a run, or of a source.
    fact : str
        An attribute of `Detector` that must be known of it, such as "segment".
    what, advice : str
        For the error: what the name stands for, and what to do otherwise.

    Raises
    ------
    ValueError
        If there is none.

    Examples
    --------
    >>> find("epix10k2M").shape
    (16, 352, 384)
    >>> find("SPB_DET_AGIPD1M-1").name
    'AGIPD1M'
    """
    found = told_by(name)
    if found is not None and getattr(found, fact) is not None:
        return found
    known = [d for d in CATALOGUE.values() if getattr(d, fact) is not None]
    kinds = list(dict.fromkeys(d.kind for d in known))
    others = [other for other, d in BY_NAME.items() if d in known]
    hint = did_you_mean(plain(name), kinds) or did_you_mean(plain(name), others)
    raise ArgumentError(
        f"{what} {name!r} is not known; wanted one of {', '.join(kinds)}.{hint}{advice}"
    )


def told_by(name: str) -> Detector | None:
    """Return the detector that a name tells, `None` if it tells none.

    Examples
    --------
    >>> told_by("XppGon.0:Epix100a.1").kind, told_by("epix_alc2").kind, told_by("det")
    ('epix100', 'epix100', None)
    """
    of_source = (BY_CLASS[kind] for kind, s in SOURCES.items() if s.match(name))
    return next(of_source, None) or named(name) or named_inside(name)


def named(name: str) -> Detector | None:
    """Return the detector of a name that is nothing else, but for a size."""
    short = plain(name)
    found = FIRST_EPIX if EPIX.fullmatch(short) else BY_NAME.get(short)
    while found is None and SIZE.search(short):
        short = SIZE.sub("", short)
        found = BY_NAME.get(short)
    return found


def named_inside(name: str) -> Detector | None:
    """Return the detector of which a name, or a word of it, has the name inside."""
    words = [plain(word) for word in re.split(r"[^A-Za-z0-9]+", str(name))]
    begins = (n for n in LONGEST_FIRST if any(word.startswith(n) for word in words))
    # Inside a word only long names: uxi is a part of flux_i0.
    inside = (n for n in LONGEST_FIRST if len(n) > SHORT and n in plain(name))
    found = BY_NAME.get(next(chain(begins, inside), ""))
    return found or (FIRST_EPIX if any(map(EPIX.fullmatch, words)) else None)
