"""What the readers say when a run is opened and its frames are planned."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.checks.findings import LEFT_OUT, Finding, fault, suspect
from xfelred.detectors.catalogue import BY_CLASS, SOURCES
from xfelred.errors import (
    MissingConstantError,
    SourceNotFound,
    XfelredError,
    listing,
)
from xfelred.readers.open import open_run
from xfelred.readers.protocol import Run

Made = TypeVar("Made")
MANY = 0.5  # of the values: so many bad pixels, or no number, are suspicious
# Constants of which 0 or less has no meaning.
POSITIVE = ("noise", "pixel_size", "absolute_gain")
NOT_ZERO = ("gain", "gain_factor", "pedestal")  # later stages of gain are negative
PER_PIXEL = 1000  # values, or more: one for every pixel
KEV = (0.2, 60.0)  # photon energies of these machines, with their harmonics


def opened(
    source: object, run: int | str | None = None
) -> tuple[Run | None, list[Finding]]:
    """Open a run; return it, or None, and what the reader says about it."""
    found: list[Finding] = []
    made = said(lambda: open_run(source, run), "cannot be opened", "", found)
    left_out = getattr(made, "left_out", ())
    found += [fault(LEFT_OUT, one.reason, file=one.file) for one in left_out]
    return made, found


def said(
    make: Callable[[], Made], kind: str, name: str, found: list[Finding]
) -> Made | None:
    """Return what a call returns; its error and its warnings become findings."""
    made = None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            made = make()
        except (MissingConstantError, SourceNotFound):
            pass  # it has none, such as frames in small data, which is no fault
        except (XfelredError, OSError, ValueError) as error:
            found.append(fault(kind, str(error), object=name))
    texts = [str(t.message) for t in told if issubclass(t.category, UserWarning)]
    # Files that are left out are told one by one.
    texts = [t for t in texts if "files cannot be read and are left out" not in t]
    found += [suspect("reader", text, object=name) for text in texts]
    return made


def detectors_of(run: Run) -> list[Finding]:
    """Plan the frames of every detector, which compares the labels of its modules."""
    found: list[Finding] = []
    known = said(lambda: run.detectors, "inconsistent data", "", found) or {}
    for name in known:
        frames = said(partial(run.frames, name), "inconsistent frames", name, found)
        if frames is not None:
            found += absent_frames(name, frames)
            found += absent_modules(name, known[name], frames)
        constants = said(partial(run.constants, name), "constants", name, found)
        if constants is not None:
            found += suspicious(name, constants)
    energy = said(lambda: getattr(run, "photon_energy", None), "energy", "", found)
    if isinstance(energy, float) and np.isfinite(energy):
        kev = energy / 1000 if energy > KEV[1] else energy
        if not KEV[0] <= kev <= KEV[1]:
            found.append(suspect("photon energy", f"the file says {energy}"))
    return found


def absent_frames(name: str, frames: xr.DataArray) -> list[Finding]:
    """Return a finding for modules that lack frames which others have."""
    there = frames.coords.get("available")
    if there is None or there.chunks is not None or "module" not in there.dims:
        return []
    missing = (~there.astype(bool)).sum([d for d in there.dims if d != "module"])
    modules = zip(there["module"].values.tolist(), missing.values.tolist(), strict=True)
    lacking = {m: n for m, n in modules if n}
    if not lacking:
        return []
    text = "trains without frames, by module: " + listing(
        (f"{m}: {n}" for m, n in lacking.items()), 16
    )
    return [suspect("missing frames", text, object=name, count=sum(lacking.values()))]


def absent_modules(name: str, kind: str, frames: xr.DataArray) -> list[Finding]:
    n = BY_CLASS[kind].n_segments if kind in BY_CLASS else None
    if n is None or "module" not in frames.coords:
        return []
    numbers = range(SOURCES[kind].first_number, SOURCES[kind].first_number + n)
    absent = sorted({*numbers} - {*frames["module"].values.tolist()})
    if not absent:
        return []
    text = f"no file has modules {listing(absent, 16)} of {n}"
    return [suspect("missing modules", text, object=name, count=len(absent))]


def suspicious(name: str, constants: xr.Dataset) -> list[Finding]:
    """Return findings for constants whose values can hardly be meant."""
    found = []
    for key, values in constants.data_vars.items():
        if values.dtype.kind not in "fiub" or not values.size or values.chunks:
            continue
        text = what_is_odd(str(key), np.asarray(values))
        if text:
            found.append(suspect("constants", text, object=f"{name}, {key}"))
    return found


def what_is_odd(key: str, values: NDArray[Any]) -> str:
    """Say what is suspicious about the values of a constant, if anything is."""
    if values.dtype.kind == "b":
        bad = float(values.mean())
        return f"{bad:.0%} of the pixels are bad" if bad > MANY else ""
    number = np.isfinite(values)
    # One of several gains of a pixel may be unknown, but not one of two sizes of it.
    few = key in POSITIVE and 1 < values.size < PER_PIXEL and not number.all()
    if (number.mean() < MANY and values.size > 1) or few:
        return f"{1 - float(number.mean()):.0%} of the values are no numbers"
    known = values[number]
    wrong = known <= 0 if key in POSITIVE else known == 0
    share = float(wrong.mean()) if known.size and key in (*POSITIVE, *NOT_ZERO) else 0.0
    if share > (MANY if known.size >= PER_PIXEL else 0):
        return f"{share:.0%} of the values are 0" + " or less" * (key in POSITIVE)
    return ""


def paths_of(run: Run) -> list[str]:
    files = getattr(run, "files", ())
    left = [one.file for one in getattr(run, "left_out", ())]
    return sorted({*(os.fspath(getattr(f, "path", f)) for f in files), *left})
