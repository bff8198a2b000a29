"""Which detectors, and which sources of raw or corrected data, a run holds."""

from __future__ import annotations

from contextlib import suppress

from xfelred.detectors.catalogue import SOURCES
from xfelred.detectors.description import Sources
from xfelred.errors import (
    ArgumentError,
    BrokenFileError,
    InconsistentDataError,
    SourceNameError,
    did_you_mean,
    listing,
    warn,
)
from xfelred.readers.euxfel.headers import Header, dataset_name, header
from xfelred.readers.euxfel.run_data import RunData

PULSE_KEYS = ("image.pulseId", "image.cellId")
CELL_KEYS = ("data.memoryCell",)  # of JUNGFRAU, which has no pulse IDs


def kinds(data: RunData) -> dict[str, str]:
    """Return the names of the multi-module detectors, sorted, and their kinds."""
    found = {name: kind for kind in SOURCES for name in names_in(data, kind)}
    return dict(sorted(found.items()))


def names_in(data: RunData, kind: str) -> list[str]:
    matches = (SOURCES[kind].match(s) for s in data.entries)
    return sorted({m[0] for m in matches if m})


def sources_of(data: RunData, kind: str, name: str) -> dict[str, tuple[int, bool]]:
    """Return {source: (module number, whether below /CORR/)} of one detector."""
    matches = {s: SOURCES[kind].match(s) for s in data.entries}
    return {s: (m[1], m[2]) for s, m in matches.items() if m and m[0] == name}


def only_name(data: RunData, kind: str) -> str:
    names = names_in(data, kind)
    if not names:
        raise no_source(data, kind, None)
    if len(names) > 1:
        raise ArgumentError(
            f"several {kind} detectors in the data: {', '.join(names)}; pass one as"
            f" detector_name to {kind}()"
        )
    return names[0]


def no_source(data: RunData, kind: str, name: str | None) -> SourceNameError:
    found = kinds(data)
    asked = f"no {kind} detector" if name is None else f"no detector {name!r} ({kind})"
    return SourceNameError(
        f"{asked} in this run.{did_you_mean(name or '', found)} Detectors here:"
        f" {listing(f'{n} ({k})' for n, k in found.items())}"
    )


def choose_sources(
    data: RunData,
    kind: str,
    name: str,
    found: dict[str, tuple[int, bool]],
    raw: bool | None,
    wanted: set[int] | None,
) -> tuple[dict[str, int], bool]:
    """Return {source: number} of raw or corrected data, and whether they are raw.

    Modules that are not `wanted` (None: all are) are not looked into.
    """
    # Corrected files have had names below /DET/ too, which do not tell them from raw.
    corrected = {s: n for s, (n, c) in found.items() if c}
    plain = {s: n for s, (n, c) in found.items() if not c}
    asked = [s for s, n in plain.items() if wanted is None or n in wanted]
    if raw:
        if not plain or not all(kinds_of(data, asked, SOURCES[kind]).values()):
            raise ArgumentError(
                f"no raw data of {name}: its sources hold corrected data;"
                f" use {kind}(..., raw=False), or open the raw run (data='raw')"
            )
        return plain, True
    if corrected:
        return corrected, False
    uncorrected = kinds_of(data, asked, SOURCES[kind])
    if not any(uncorrected.values()):
        return plain, False
    if not all(uncorrected.values()):
        raise raw_and_corrected(name, uncorrected)
    if raw is False:
        raise SourceNameError(
            f"no corrected data of {name}: its sources hold raw data; open the"
            f" corrected run (data='proc') or use {kind}(..., raw=True)"
        )
    warn(f"{name} has only raw data here; pass raw=True to {kind}() if you want them")
    return plain, True


def kinds_of(data: RunData, sources: list[str], spec: Sources) -> dict[str, bool]:
    """Return whether sources hold raw pixels; those that can be read tell."""
    found: dict[str, bool] = {}
    damaged = None
    for source in sources:
        look_up(data, source, spec)
        try:
            found[source] = is_raw(data, source, spec)
        except BrokenFileError as error:  # told when its frames are read
            damaged = error
    if damaged is not None and not found:
        raise damaged
    return found


def look_up(data: RunData, source: str, spec: Sources) -> None:
    """Look up what is asked of each file of a module next, while it is open.

    Key by key instead of file by file, each file of a large run would be opened anew
    for each of them. What cannot be read is told where it is needed.
    """
    entry, group = data.entries[source], spec.data.partition(".")[0]
    keys = (spec.data, spec.mask, *(CELL_KEYS if spec.inner else PULSE_KEYS))
    names = [dataset_name(source, key) for key in keys]
    with suppress(BrokenFileError):
        entry.all_keys()
    for file in entry.files:
        with suppress(BrokenFileError):
            for name in names:
                header(file, name)
            if group in file.groups.get(source, ()):
                file.index(source, group)


def is_raw(data: RunData, source: str, spec: Sources) -> bool:
    """Return whether a source below /DET/ holds raw pixels; its files must agree."""
    entry, name = data.entries[source], dataset_name(source, spec.data)
    # Where each train lies is not asked for: of a million trains that takes longer.
    files = entry.files_with_rows(spec.data.partition(".")[0])
    headers = {f.path: one for f in files if (one := header(f, name)) is not None}
    headers = headers or entry.key_data(spec.data).headers
    found = {path: raw_header(one, spec) for path, one in headers.items()}
    if len(set(found.values())) > 1:
        raise raw_and_corrected(source, found)
    return next(iter(found.values()))


def raw_header(header: Header, spec: Sources) -> bool:
    if spec.raw_ndim is not None:  # raw data with an axis more than corrected ones
        return len(header.shape) + 1 == spec.raw_ndim
    return header.dtype.kind in "iu"


def raw_and_corrected(name: str, raw: dict[str, bool]) -> InconsistentDataError:
    """Return the error for raw and corrected data under names that do not tell them."""
    kinds = {
        word: listing([s for s, is_raw in raw.items() if is_raw == kind], 3)
        for word, kind in (("raw", True), ("corrected", False))
    }
    return InconsistentDataError(
        f"{name} has raw data in {kinds['raw']} and corrected data in"
        f" {kinds['corrected']}; they cannot be read as one. Open one kind"
        " (data='raw' or 'proc'), or select such sources and trains:"
        " run.select(...), run.select_trains(...)"
    )
