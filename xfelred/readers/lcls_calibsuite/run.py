"""A run of the LCLS calibration suite: steps of events, and the arrays made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import Any, Literal

import numpy as np
import xarray as xr

from xfelred.column_names import split_element
from xfelred.entries import entry
from xfelred.errors import (
    ArgumentError,
    ArgumentTypeError,
    MissingConstantError,
    PropertyNameError,
    SourceNameError,
    listing,
    no_such,
    shown,
)
from xfelred.names import STEP, STEP_VALUE, TRAIN
from xfelred.provenance import record
from xfelred.readers.description import Facts
from xfelred.readers.lcls_calibsuite import frames as by_step
from xfelred.readers.lcls_calibsuite.run_data import KEY, RunData, plain_number
from xfelred.readers.lcls_calibsuite.values import (
    MISSING,
    N_EVENTS,
    per_event,
    per_step,
)
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import check_position, listed_keys
from xfelred.readers.shot_frames import ShotImages, chosen_pulse


@dataclass(frozen=True, eq=False, repr=False)
class Run(RunData):
    """Data of one file for the selected events; nothing but shapes has been read.

    Attributes are those of `RunData`.
    """

    @entry
    def key_data(self, source: str, key: str) -> xr.DataArray:
        """Return the frames of a detector, or values per event."""
        if key not in self.keys(source):
            raise PropertyNameError(
                f"no {key!r} of {source}; it has {listing(self.keys(source))}"
            )
        if source in self.contents.detectors:
            return self.frames(source)
        return self.scalars([source])[source]

    # -- steps and values ------------------------------------------------------------

    @property
    def steps(self) -> xr.Dataset:
        """What belongs to steps, on ``step``, their numbers.

        ``n_events``, the selected events (0: a step without any); ``step_value``: the
        values that ``ancillaryDataType`` names, or ``step_value`` of a flat file; where
        they differ within a step their mean, NaN where there are none; and every other
        value that is one for a step.
        """
        contents = self.contents
        chosen = np.isin(contents.steps, self.step_numbers)
        n = np.bincount(self.events.position, minlength=len(contents.steps))
        found: dict[str, Any] = {
            N_EVENTS: (STEP, n.astype(np.int64), plain_number("events of the step")),
            STEP_VALUE: (STEP, self.step_values, self.value_attrs),
        }
        for name in self.series:
            pieces = contents.series[name].values()
            if name != contents.value_name and all(p.per_event for p in pieces):
                continue
            each = per_step(contents, name)
            if each is not None and name not in found:
                extra = [f"{name}_dim{i}" for i in range(each.ndim - 1)]
                found[name] = ((STEP, *extra), each, plain_number(name))
        out = xr.Dataset(found, coords={STEP: contents.steps}).isel({STEP: chosen})
        out[STEP].attrs = plain_number("number of the step")
        return record(out, "steps", run=self.run_id)

    @entry(own=("keys",))
    def scalars(
        self,
        keys: str | Sequence[str],
        *,
        stream: str = "event",
        missing: Literal["nan", "keep"] = "nan",
        missing_keys: Literal["raise", "ignore"] = "raise",
    ) -> xr.Dataset:
        """Return values per event; those of a step are repeated.

        Parameters
        ----------
        keys : str or list of str
            Names such as "timestamp", "wave8", "delay", or globs.
        stream : str
            Only "event".
        missing : {"nan", "keep"}
            What becomes of -99999 in integers.
        missing_keys : {"raise", "ignore"}
            What to do with names that are not there.

        Returns
        -------
        Dataset (train)
            In memory, with the coordinates ``step``, ``event``, ``step_value``. Further
            axes are called ``<name>_dim0`` and so on. NaN where a step has no value.

        Raises
        ------
        SourceNameError
            If a name is not there.
        """
        if stream != "event":
            raise ArgumentError(
                f"stream={stream!r}; {self.run_id} has the stream 'event' only"
            )
        asked = [keys] if isinstance(keys, str) else listed_keys(keys)
        names = series_named(self, asked, missing_keys)
        found = {}
        for name in names:
            base, position = (name, ()) if name in self.series else split_element(name)
            values = per_event(self.contents, base, self.ids)
            if position:
                check_position(name, position, values.shape[1:], SourceNameError)
            where: tuple[Any, ...] = (slice(None), *position)
            values = values[where]
            whole = values.dtype.kind == "i"
            if missing == "nan" and whole and (values == MISSING).any():
                values = np.where(values == MISSING, np.nan, values.astype(np.float64))
            dims = (TRAIN, *(f"{name}_dim{i}" for i in range(values.ndim - 1)))
            found[name] = (dims, values, plain_number(name))
        coords = {TRAIN: self.ids, **self.coordinates_of()}
        # A value that was asked for may be called like a coordinate: step_value.
        coords = {k: v for k, v in coords.items() if k not in found}
        out = xr.Dataset(found, coords)
        out[TRAIN].attrs = plain_number("running event number")
        return record(out, "scalars", keys=names, run=self.run_id)

    @property
    def metadata(self) -> dict[str, Any]:
        """Header fields: scriptType, acquisitionScript, ..., run."""
        return dict(self.contents.metadata)

    @entry
    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Raise MissingConstantError: these files hold no constants."""
        raise MissingConstantError(
            f"files of the calibration suite, such as {self.run_id}, hold no constants"
            f" of {self.detector_named(detector)!r}; make them with"
            " ops.dark_statistics, or take them from another run"
        )

    # -- frames ----------------------------------------------------------------------

    def default_key(self, detector: str) -> str:
        """Return "frames"."""
        return KEY

    def images_of(self, detector: str, key: str) -> ShotImages:
        """Return where the frames of a detector are."""
        if key != KEY:
            raise PropertyNameError(
                f"no {key!r} of {detector}; its frames are {KEY!r}, other values are in"
                " run.scalars"
            )
        return by_step.images_of(self, detector)

    @entry
    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        layout: Literal["train", "frame", "step", "list"] = "train",
        **options: Any,
    ) -> Any:
        """Return frames as a lazy array; see `EveryRun.frames`.

        Parameters
        ----------
        layout : {"train", "frame", "step", "list"}
            Also "step": (step, event, module, slow_scan, fast_scan), padded with the
            fill value, with the coordinates ``n_events`` (step) and ``step_value``
            (step); "list": a list with one array (event, module, ...) for each step.
        **options
            As there.

        Returns
        -------
        DataArray, or list of DataArray
            With the coordinates ``step``, ``event`` and ``step_value`` on ``train``.
        """
        if layout != "step" and layout != "list":
            return super().frames(detector, key, layout=layout, **options)
        name = self.detector_named(detector)
        request = FramesRequest(key or KEY, **options)
        array = by_step.step_frames(self, self.images_of(name, request.key), request)
        if not chosen_pulse(request.pulses):
            array = array.isel(event=slice(0, 0))
            array = array.assign_coords(n_events=array[N_EVENTS] * 0)
        return by_step.step_list(array) if layout == "list" else array

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of all frames of a dataset; for `plan`."""
        if path != self.contents.path:
            return None
        for pieces in self.contents.detectors.values():
            here = [p for p in pieces.values() if p.dataset == dataset]
            if here:
                size = here[0].dtype.itemsize
                return size, size * sum(prod(p.shape) for p in here)
        return None

    def facts(self) -> Facts:
        """Return lines that describe the run."""
        contents = self.contents
        found = [
            ("facility", f"LCLS calibration suite, {contents.identity[0]}"),
            ("script", contents.kind or "not told"),
        ]
        n = self.steps[N_EVENTS].values
        low, high = n.min(initial=n.max(initial=0)), n.max(initial=0)
        each = f"{low}" if low == high else f"{low} to {high}"
        found.append(("steps", f"{len(n)} of {each} events, {len(self.ids)} in all"))
        if contents.value_name:
            found.append(("step value", contents.value_name))
        for name in self.detectors:
            piece = next(iter(contents.detectors[name].values()))
            modules, *pixels = piece.entry
            size = "x".join(map(str, pixels))
            text = f"{name}: {modules} modules of {size} {piece.dtype}"
            found.append(("detector", text))
        if self.series:
            found.append(("values", listing(self.series)))
        return found


def series_named(run: RunData, keys: list[str], missing_keys: str) -> list[str]:
    """Return the series that names and globs stand for, without repetition."""
    out: list[str] = []
    for key in keys:
        if not isinstance(key, str):
            raise ArgumentTypeError(f"scalars takes names of keys, not {shown(key)}")
        hits = [n for n in run.series if n == key or fnmatchcase(n, key)]
        if not hits and split_element(key)[0] in run.series:
            hits = [key]
        if not hits and missing_keys == "raise":
            raise SourceNameError(
                no_such("values", key, run.series, f" in {run.run_id}")
            )
        out += [n for n in hits if n not in out]
    return out
