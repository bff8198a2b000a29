"""What every facility promises of a run, of a detector and of a key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, Self, runtime_checkable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.lazy.estimate import RATE, Estimate
from xfelred.readers.left_out import LeftOut

Layout = Literal["train", "frame"]
BadPixels = Literal["apply", "keep"] | None
Missing = Literal["fill", "drop", "raise"]


@runtime_checkable
class Key(Protocol):
    """One key of one source for the selected trains, ``run[source, key]``."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in the files; object for text."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def units(self) -> str | None:
        """Symbol of the unit, None if unknown."""

    def ndarray(self) -> NDArray[Any]:
        """Read the values."""

    def xarray(self) -> Any:
        """Read the values with their labels."""


@runtime_checkable
class Detector(Protocol):
    """One detector of a run for the selected trains; nothing has been read."""

    @property
    def detector_name(self) -> str:
        """Name, such as ``SPB_DET_AGIPD1M-1``."""

    @property
    def kind(self) -> str:
        """What the run calls this kind of detector."""

    @property
    def modules(self) -> list[int]:
        """Numbers of the modules."""

    @property
    def module_shape(self) -> tuple[int, int]:
        """Pixels of one module along slow_scan and fast_scan."""

    @property
    def train_ids(self) -> list[int]:
        """Sorted IDs of the trains."""

    def select_trains(self, trains: object) -> Self:
        """Return the detector for some of its trains; see `Run.select_trains`."""

    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Self]:
        """Yield the detector in even pieces of its trains."""

    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return pixels as a lazy array; options are those of `Run.frames`."""


@runtime_checkable
class Run(Protocol):
    """Data of one run for the selected trains and sources, whatever the facility.

    Immutable, picklable; nothing but indexes has been read. Selecting gives a new run.
    It may stand in a ``with`` statement, and stays usable behind it.
    """

    @property
    def facility(self) -> str:
        """One of "euxfel", "sacla" and "lcls"."""

    @property
    def run_id(self) -> str:
        """What the facility calls the run; empty if unknown."""

    @property
    def train_ids(self) -> list[int]:
        """Sorted IDs of the trains: train ID, tag, timestamp or number of the event."""

    @property
    def sources(self) -> list[str]:
        """Names of everything that has keys."""

    @property
    def detectors(self) -> Mapping[str, str]:
        """Names of the detectors, and their kinds."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files that could not be used, and why."""

    def keys(self, source: str) -> list[str]:
        """Return the keys of a source, sorted."""

    def __getitem__(self, item: object) -> Any:
        """Return ``run[source, key]``, ``run[name]``, or the run of some trains."""

    def __contains__(self, item: object) -> bool:
        """Tell whether there is a source, or a pair of source and key."""

    def select_trains(self, trains: object) -> Self:
        """Return the run for a selection of its trains.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions unless it is ``by_id`` or has a coordinate ``train``.
        """

    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Self]:
        """Yield the run in even pieces of its trains."""

    def scalars(
        self, keys: Sequence[Any], *, missing_keys: Literal["raise", "ignore"] = "raise"
    ) -> xr.Dataset:
        """Return values per train, joined by ID."""

    def constants(self, detector: str | None = None) -> xr.Dataset:
        """Return what the files say of pixels: pedestal, gain, bad pixels, ..."""

    @property
    def detector(self) -> Callable[..., Detector]:
        """``run.detector(name, **options)``; one that is alone needs no name."""

    def frames(
        self,
        detector: str | None = None,
        key: str | None = None,
        *,
        pulses: object = ...,
        layout: Layout = "train",
        modules: object = None,
        roi: object = (),
        fill_value: object = None,
        astype: object = None,
        bad_pixels: BadPixels = "apply",
        chunk_size: str | float = "128MiB",
        missing: Missing = "fill",
    ) -> xr.DataArray:
        """Return pixels as a lazy array (train, pulse, module, slow_scan, fast_scan).

        Parameters as those of the facility's own, ``help(run.frames)``, which may have
        more.
        """

    def plan(
        self,
        *results: Any,
        workers: int = 1,
        threads: int | None = None,
        rate: float = RATE,
    ) -> Estimate:
        """Return what computing some lazy results will read and need."""

    def info(self, details_for_sources: str | Iterable[str] = ()) -> None:
        """Print what the run holds."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *problem: object) -> None: ...

    def close(self) -> None:
        """Do nothing: files that are not used are closed by themselves."""
