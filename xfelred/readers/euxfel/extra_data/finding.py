"""Finding the multi-module detectors of a run."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from xfelred.detectors.catalogue import SOURCES
from xfelred.entries import entry, must_have
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    SourceNameError,
    did_you_mean,
    listing,
    warn,
)
from xfelred.readers.euxfel.extra_data.detector import Detector
from xfelred.readers.euxfel.extra_data.detectors import CLASSES
from xfelred.readers.euxfel.identify import names_in
from xfelred.readers.euxfel.run_data import RunData


@entry
def identify_multimod_detectors(
    data: RunData,
    detector_name: str | None = None,
    *,
    single: bool = False,
    clses: Iterable[type[Detector]] | None = None,
) -> Any:
    """Find multi-module detectors by their source names.

    Parameters
    ----------
    data : RunData
    detector_name : str, optional
        Only this detector.
    single : bool, optional
        Return the one (name, class) instead of a set of them.
    clses : iterable of classes, optional
        Only these kinds.

    Returns
    -------
    set of (str, class), or (str, class)

    Raises
    ------
    ValueError
        If `single` and there is not exactly one.
    """
    must_have(
        "xf.identify_multimod_detectors", "data", data, "all_sources", "an opened run"
    )
    found = {
        (name, cls)
        for cls in (CLASSES if clses is None else clses)
        for name in names_in(data, cls.kind)
        if detector_name in (None, name)
    }
    if not single:
        return found
    if len(found) != 1:
        names = sorted(n for n, _ in found)
        wanted = "one detector" if detector_name is None else f"one {detector_name!r}"
        raise ArgumentError(
            f"expected {wanted} in the data, found {len(found)}: {listing(names)}"
        )
    return next(iter(found))


def find_detector(
    run: RunData, name: str | None, *, checked: bool = True, **options: Any
) -> Detector:
    """Return the detector that a user names, or the only one.

    `checked` says whether all its modules must have the same frames.
    """
    found = dict(identify_multimod_detectors(run))
    if name is None:
        if not found:
            raise SourceNameError(
                f"no multi-module detector in this run of {len(run.entries)} sources"
            )
        if len(found) > 1:
            raise ArgumentError(
                f"several detectors in this run, name one: {listing(sorted(found))}"
            )
        name = next(iter(found))
    if name not in found:
        raise SourceNameError(
            f"no detector {name!r} in this run.{did_you_mean(name, found)}"
            f" Detectors here: {listing(sorted(found))}"
        )
    # What a detector keeps, such as labels, serves the next call of the run too.
    what = (name, checked, *sorted(options.items()))
    if "modules" in options:  # which may be anything that can be iterated over
        return new_detector(run, found[name], name, checked=checked, **options)
    if what not in run.memo:
        known = None if run.parent is None else run.parent.memo.get(what)
        some = None if known is None else known.with_ids(run.ids)
        if some is None or not len(some.ids):
            some = new_detector(run, found[name], name, checked=checked, **options)
        run.memo[what] = some
    kept: Detector = run.memo[what]
    return kept


def new_detector(
    run: RunData, cls: type[Detector], name: str, **options: Any
) -> Detector:
    """Return a detector; raw data that nobody asked for are told once."""
    allowed = {"checked", "modules", "min_modules", "raw", *SOURCES[cls.kind].options}
    for option in options:
        if option not in allowed:
            raise ArgumentTypeError(
                f"{cls.kind} has no option {option!r}; it has"
                f" {sorted(allowed - {'checked'})}"
            )
    if options.get("raw") is not None:
        return cls(run, name, **options)
    # One notebook line must not warn about what it shows: frames say what they are.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = cls(run, name, **options)
    if found.is_raw and run.default:
        say_only_raw(run, name)
    return found


def say_only_raw(run: RunData, name: str) -> None:
    """Warn, once for a run, that its default gave raw data and no corrected ones."""
    said = run.all_files[0].said
    if name in said:
        return
    said.add(name)
    warn(
        f"{name}: these are raw data. open_run looks for corrected ones first, but"
        " found none, or found them under the names of the raw ones, which then win."
        " Corrected data: open_run(..., data='all') or data='proc'. If you want raw"
        " ones, say so: open_run(..., data='raw') or frames(raw=True)"
    )
