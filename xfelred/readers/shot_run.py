"""What runs with one pulse per shot have in common: selecting, frames, description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentTypeError,
    PropertyNameError,
    SourceNameError,
    did_you_mean,
    listing,
    no_such,
    one_line,
)
from xfelred.readers.description import Facts, as_html, as_text, print_lines
from xfelred.readers.every_run import EveryRun
from xfelred.readers.frames import FrameTexts
from xfelred.readers.left_out import LeftOut
from xfelred.readers.protocol import Detector, Run
from xfelred.readers.request import FramesRequest
from xfelred.readers.shot_frames import Coordinates, ShotImages, shot_frames


class ShotRun(EveryRun, Run):
    """What runs of these facilities share; a facility fills in the first part."""

    facility: str
    left_out: tuple[LeftOut, ...] = ()

    @property
    def called(self) -> str:
        """What messages call the run."""
        return self.run_id

    def key_data(self, source: str, key: str) -> ShotKey | xr.DataArray:
        """Return one key of a source."""
        raise NotImplementedError

    def default_key(self, detector: str) -> str:
        """Return which images of a detector are its frames."""
        raise NotImplementedError

    def images_of(self, detector: str, key: str) -> ShotImages:
        """Return where the images of a detector are."""
        raise NotImplementedError

    def texts_of(self, detector: str, key: str) -> FrameTexts:
        """Return what frames of a detector say about themselves."""
        raise NotImplementedError

    def coordinates_of(self, detector: str) -> Coordinates:
        """Return what is known of the shots of a detector, each along ``train``."""
        raise NotImplementedError

    def facts(self) -> Facts:
        """Return (what, value) lines that describe the run."""
        raise NotImplementedError

    # -- selecting -------------------------------------------------------------------

    @property
    def train_ids(self) -> list[int]:
        """Sorted IDs of the shots; of LCLS numpy's uint64, as their frames have."""
        unsigned = self.ids.dtype.kind == "u"
        return list(self.ids) if unsigned else self.ids.tolist()

    def with_ids(self, ids: NDArray[Any]) -> Self:
        """Return the run for some of its shots."""
        if len(ids) == len(self.ids):
            return self
        other: Any = replace(self, ids=ids)  # type: ignore[type-var]
        return other

    def __getitem__(self, item: object) -> Any:
        """Return ``run[source, key]``, ``run[detector]``, or the run of some shots."""
        if isinstance(item, str):
            return self.detector(item)
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            return self.key_data(*item)
        return self.select_trains(item)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, tuple) and len(item) == 2:
            return item[0] in self.sources and item[1] in self.keys(str(item[0]))
        return isinstance(item, str) and (
            item in self.sources or item in self.detectors
        )

    # -- frames ----------------------------------------------------------------------

    def detector_named(self, name: str | None) -> str:
        """Return the name of a detector; without a name the run must have just one."""
        known = self.detectors
        if name is None:
            if len(known) == 1:
                return str(next(iter(known)))
            what = "several detectors; name one of them" if known else "no detector"
            raise SourceNameError(f"{self.called} has {what}: {listing(known)}")
        if name not in known:
            raise SourceNameError(
                no_such("detector", name, known, f" in {self.called}")
            )
        return name

    @entry
    def detector(self, name: str | None = None) -> Detector:
        """Return a detector; without a name the run must have just one."""
        return ShotDetector(self, self.detector_named(name))

    def frames_of(
        self, detector: str | None, request: FramesRequest, **options: Any
    ) -> xr.DataArray:
        """Return the frames that were asked for."""
        if options:
            raise ArgumentTypeError(f"frames has no option {listing(options)} here")
        name = self.detector_named(detector)
        key = request.key or self.default_key(name)
        images, texts = self.images_of(name, key), self.texts_of(name, key)
        request = replace(request, key=key)
        return shot_frames(images, request, texts, self.coordinates_of(name))

    # -- description -----------------------------------------------------------------

    def no_source(self, name: str) -> SourceNameError:
        """Return the error for a source that is not there."""
        where = f" in {self.run_id}"
        return SourceNameError(no_such("source", name, self.sources, where))

    @entry
    def info(self, details_for_sources: str | Iterable[str] = ()) -> None:
        """Print what the run holds, with the keys of sources that match globs."""
        globs = details_for_sources
        globs = (globs,) if isinstance(globs, str) else tuple(globs)
        lines = [*repr(self).split("\n"), "", "sources:"]
        for name in self.sources:
            lines.append(f"  - {name}")
            if any(fnmatchcase(name, g) for g in globs):
                lines += [f"      {key}" for key in self.keys(name)]
        print_lines(lines)

    def __repr__(self) -> str:
        return as_text(self.run_id, self.facts())

    def _repr_html_(self) -> str:
        return as_html(self.run_id, self.facts(), "sources", self.sources)


@dataclass(frozen=True, eq=False, repr=False)
class ShotDetector:
    """One detector of a run with one pulse per shot; nothing has been read.

    Attributes
    ----------
    data : run
    detector_name : str
    """

    data: ShotRun
    detector_name: str

    @property
    def kind(self) -> str:
        """What the run calls this kind of detector."""
        return str(self.data.detectors[self.detector_name])

    @property
    def images(self) -> ShotImages:
        """Where the usual images are."""
        name = self.detector_name
        return self.data.images_of(name, self.data.default_key(name))

    @property
    def modules(self) -> list[int]:
        """Numbers of the modules."""
        return list(self.images.modules)

    @property
    def module_shape(self) -> tuple[int, int]:
        """Pixels of one module along slow_scan and fast_scan."""
        slow, fast = self.images.shape[-2:]
        return slow, fast

    @property
    def train_ids(self) -> list[int]:
        """Sorted IDs of the shots of the run."""
        return self.data.train_ids

    def select_trains(self, trains: object) -> ShotDetector:
        """Return the detector for a selection of shots."""
        return replace(self, data=self.data.select_trains(trains))

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[ShotDetector]:
        """Yield the detector in even pieces of the shots."""
        for run in self.data.split_trains(parts, trains_per_part):
            yield replace(self, data=run)

    @entry
    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return images as a lazy array; see `ShotRun.frames`."""
        return self.data.frames(self.detector_name, key, **options)

    def constants(self) -> xr.Dataset:
        """Return what the run knows about the pixels."""
        return self.data.constants(self.detector_name)

    def __repr__(self) -> str:
        return f"<Detector {self.detector_name!r} ({one_line(self.kind)})>"


@dataclass(frozen=True, eq=False)
class ShotKey:
    """One key of one source of a run; nothing has been read.

    Attributes
    ----------
    run : run
    source, key : str
    """

    run: ShotRun
    source: str
    key: str

    def __post_init__(self) -> None:
        """Raise PropertyNameError if the source has no such key."""
        known = self.run.keys(self.source)
        if self.key not in known:
            raise PropertyNameError(
                f"{self.source} has no key {self.key!r}."
                f"{did_you_mean(self.key, known)} There are: {listing(known, 12)}"
            )

    def xarray(self) -> xr.DataArray:
        """Return the values with their labels."""
        raise NotImplementedError

    def ndarray(self) -> NDArray[Any]:
        """Return the values as a numpy array."""
        return np.asarray(self.xarray().data)
