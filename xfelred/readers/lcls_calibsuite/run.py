"""A run of the LCLS calibration suite: steps of events, and the arrays made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from math import prod
from pathlib import PurePath
from typing import Any, Literal

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    MissingConstantError,
    PropertyNameError,
    SourceNameError,
    listing,
    shown,
)
from xfelred.readers.description import Facts
from xfelred.readers.lcls_calibsuite import frames as by_step
from xfelred.readers.lcls_calibsuite import values
from xfelred.readers.lcls_calibsuite.contents import Contents
from xfelred.readers.lcls_calibsuite.events import events_of
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import ById, ByIndex, glob_pairs, matches
from xfelred.readers.shot_frames import Labels, ShotImages, chosen_pulse
from xfelred.readers.shot_run import ShotRun

KEY, VALUE = "frames", "value"


@dataclass(frozen=True, eq=False, repr=False)
class Run(ShotRun):
    """Data of one file for the selected events; nothing but shapes has been read.

    Attributes
    ----------
    contents : Contents
        Of the whole file.
    ids : int64 (event,)
        Running numbers of the selected events, sorted.
    step_numbers : int64 (step,)
        Selected steps, sorted; also those without an event.
    names : tuple of str
        Selected sources.
    """

    contents: Contents
    ids: NDArray[np.int64]
    step_numbers: NDArray[np.int64]
    names: tuple[str, ...]

    facility = "lcls"

    @property
    def run_id(self) -> str:
        """Stem of the name of the file."""
        return PurePath(self.contents.path).stem

    @property
    def detectors(self) -> dict[str, str]:
        """Names of the detectors and their kind."""
        known = self.contents.detectors
        return {n: "calibration suite" for n in known if n in self.names}

    @property
    def series(self) -> list[str]:
        """Names of the values per event or per step."""
        return [n for n in self.contents.series if n in self.names]

    @property
    def sources(self) -> list[str]:
        """Names of the detectors and of the values."""
        return list(self.names)

    @property
    def streams(self) -> tuple[str, ...]:
        """Always ``("event",)``."""
        return ("event",)

    @entry
    def keys(self, source: str) -> list[str]:
        """Return the keys of a source: "frames" of a detector, "value" of others.

        Raises
        ------
        SourceNameError
            If there is no such source.
        """
        if source not in self.names:
            raise self.no_source(source)
        return [KEY if source in self.contents.detectors else VALUE]

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

    # -- selecting -------------------------------------------------------------------

    @entry
    def select(self, sources: Any, key_glob: str = "*") -> Run:
        """Return the run with the sources that a glob, or one of several, matches.

        Raises
        ------
        SourceNameError
            If nothing matches.
        """
        pairs = glob_pairs(sources, key_glob)
        names = tuple(
            n
            for n in self.names
            if any(
                fnmatchcase(n, g) and any(fnmatchcase(k, key) for k in self.keys(n))
                for g, key in pairs
            )
        )
        if not names:
            raise SourceNameError(
                f"no source of {self.run_id} matches {shown(pairs)}; there are"
                f" {listing(self.names)}"
            )
        return replace(self, names=names)

    def select_steps(self, steps: Any) -> Run:
        """Return the run for some of its steps.

        Parameters
        ----------
        steps : int, slice, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions among the steps, or their numbers with ``by_id``.
        """
        from_ids = isinstance(steps, ById)
        value = steps.value if isinstance(steps, (ById, ByIndex)) else steps
        if from_ids:
            keep = matches(self.step_numbers, value)
        else:
            listed = (
                [value]
                if np.ndim(value) == 0 and not isinstance(value, slice)
                else (value)
            )
            keep = np.zeros(len(self.step_numbers), bool)
            keep[listed] = True
        numbers = self.step_numbers[keep]
        events = events_of(self.contents, self.ids)
        return replace(
            self, ids=self.ids[np.isin(events.step, numbers)], step_numbers=numbers
        )

    # -- steps and values ------------------------------------------------------------

    @cached_property
    def step_values(self) -> NDArray[Any]:
        """Value of every step of the file."""
        return values.step_values(self.contents)

    @property
    def steps(self) -> xr.Dataset:
        """What belongs to steps, on ``step``, their numbers.

        ``n_events``, the selected events (0: a step without any); ``step_value``: the
        values that ``ancillaryDataType`` names, or ``step_value`` of a flat file; where
        they differ within a step their mean, NaN where there are none; and every other
        value that is one for a step.
        """
        return values.steps(self)

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
        return values.scalars(
            self, keys, stream=stream, missing=missing, missing_keys=missing_keys
        )

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

    def labels_of(self, detector: str, key: str) -> Labels:
        """Return what frames say about themselves."""
        return Labels(
            facility=self.facility,
            run_id=self.run_id,
            fingerprint=str(tokenize([self.contents.identity]))[:16],
            train="running event number",
            shots=values.shot_coords(self, self.ids),
            attrs={"script_type": self.contents.kind} if self.contents.kind else None,
        )

    @entry
    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        pulses: Any = np.s_[:],
        layout: Literal["train", "frame", "step", "list"] = "train",
        modules: Any = None,
        roi: Any = (),
        fill_value: Any = None,
        astype: Any = None,
        bad_pixels: Literal["apply", "keep"] | None = "apply",
        chunk_size: str | float = "128MiB",
        missing: Literal["fill", "drop", "raise"] = "fill",
        **more: Any,
    ) -> Any:
        """Return frames as a lazy array; see `EveryRun.frames`.

        Parameters
        ----------
        layout : {"train", "frame", "step", "list"}
            Also "step": (step, event, module, slow_scan, fast_scan), padded with the
            fill value, with the coordinates ``n_events`` (step) and ``step_value``
            (step); "list": a list with one array (event, module, ...) for each step.

        Returns
        -------
        DataArray, or list of DataArray
            With the coordinates ``step``, ``event`` and ``step_value`` on ``train``.
        """
        options: dict[str, Any] = {
            "pulses": pulses, "modules": modules, "roi": roi, "fill_value": fill_value,
            "astype": astype, "bad_pixels": bad_pixels, "chunk_size": chunk_size,
            "missing": missing,
        }  # fmt: skip
        if layout != "step" and layout != "list":
            return super().frames(detector, key, layout=layout, **options, **more)
        name = self.detector_named(detector)
        request = FramesRequest(key=key or KEY, layout="train", **options)
        array = by_step.step_frames(self, self.images_of(name, request.key), request)
        if not chosen_pulse(pulses):
            array = array.isel(event=slice(0, 0)).assign_coords(
                n_events=array[values.N_EVENTS] * 0
            )
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
        n = self.steps[values.N_EVENTS].values
        low, high = n.min(initial=n.max(initial=0)), n.max(initial=0)
        each = f"{low}" if low == high else f"{low} to {high}"
        found.append(("steps", f"{len(n)} of {each} events, {len(self.ids)} in all"))
        if contents.value_name:
            found.append(("step value", contents.value_name))
        for name in self.detectors:
            piece = next(iter(contents.detectors[name].values()))
            modules, *pixels = piece.entry
            size = "x".join(map(str, pixels))
            found.append(
                ("detector", f"{name}: {modules} modules of {size} {piece.dtype}")
            )
        if self.series:
            found.append(("values", listing(self.series)))
        return found
