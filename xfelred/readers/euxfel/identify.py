"""Which detectors, and which sources of raw or corrected data, a run holds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from xfelred.errors import SourceNameError, did_you_mean, listing
from xfelred.readers.euxfel.specs import SPECS, DetectorSpec

if TYPE_CHECKING:
    from xfelred.readers.euxfel.detector import Detector
    from xfelred.readers.euxfel.run import Run


def names_in(data: Run, kind: str) -> list[str]:
    """Return the names of the detectors of one kind, sorted."""
    matches = (SPECS[kind].match(s) for s in data.entries)
    return sorted({m[0] for m in matches if m})


def sources_of(data: Run, kind: str, name: str) -> dict[str, tuple[int, bool]]:
    """Return {source: (module number, whether below /CORR/)} of one detector."""
    matches = {s: SPECS[kind].match(s) for s in data.entries}
    return {s: (m[1], m[2]) for s, m in matches.items() if m and m[0] == name}


def only_name(data: Run, kind: str) -> str:
    """Return the name of the only detector of a kind."""
    names = names_in(data, kind)
    if not names:
        raise no_source(data, kind, None)
    if len(names) > 1:
        raise ValueError(
            f"several {kind} detectors in the data: {', '.join(names)}; pass one as"
            f" detector_name to {kind}()"
        )
    return names[0]


def no_source(data: Run, kind: str, name: str | None) -> SourceNameError:
    """Return the error for a detector that is not there."""
    found = {n: kind for kind in SPECS for n in names_in(data, kind)}
    asked = f"no {kind} detector" if name is None else f"no detector {name!r} ({kind})"
    return SourceNameError(
        f"{asked} in this run.{did_you_mean(name or '', found)} Detectors here:"
        f" {listing(f'{n} ({k})' for n, k in found.items())}"
    )


def choose_sources(
    data: Run, detector: Detector, found: dict[str, tuple[int, bool]], raw: bool | None
) -> tuple[dict[str, int], bool]:
    """Return {source: number} of raw or corrected data, and whether they are raw."""
    name, kind = detector.detector_name, detector.kind
    corrected = {s: n for s, (n, c) in found.items() if c}
    plain = {s: n for s, (n, c) in found.items() if not c}
    if raw:
        if not plain or not all(is_raw(data, s, detector.spec) for s in plain):
            raise ValueError(
                f"no raw data of {name}: its sources hold corrected data;"
                f" use {kind}(..., raw=False), or open the raw run (data='raw')"
            )
        return plain, True
    if corrected:
        return corrected, False
    if not any(is_raw(data, s, detector.spec) for s in plain):
        return plain, False
    if raw is False:
        raise SourceNameError(
            f"no corrected data of {name}: its sources hold raw data; open the"
            " corrected"
            f" run (data='proc') or use {kind}(..., raw=True)"
        )
    warnings.warn(
        f"{name} has only raw data here; pass raw=True to {kind}() if you want them",
        UserWarning,
        stacklevel=5,
    )
    return plain, True


def is_raw(data: Run, source: str, spec: DetectorSpec) -> bool:
    """Return whether a source below /DET/ holds raw pixels."""
    key = data.entries[source].key_data(spec.data)
    if spec.raw_ndim is not None:
        return key.ndim == spec.raw_ndim
    return key.dtype.kind in "iu"
