"""What runs with one pulse per shot have in common: selecting, frames, description."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import xarray as xr

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentTypeError,
    SourceNameError,
    did_you_mean,
    listing,
    one_line,
)
from xfelred.readers.description import Facts, as_html, as_text, print_lines
from xfelred.readers.every_run import EveryRun
from xfelred.readers.left_out import LeftOut
from xfelred.readers.request import FramesRequest
from xfelred.readers.selection import select_train_ids, split_evenly
from xfelred.readers.shot_frames import ShotImages, shot_frames


class ShotRun(EveryRun):
    """Methods of a run, a frozen dataclass with the following.

    Fields or properties: ``ids`` (sorted int64 or uint64, one of each shot),
    ``facility``, ``run_id``, ``sources``, ``detectors``. Methods: ``keys(source)``,
    ``key_data(source, key)``, ``constants(detector)``, ``stored(path, dataset)`` for
    `EveryRun`, ``default_key(detector)``, ``images_of(detector, key) -> ShotImages``,
    ``labels_of(detector, key) -> Labels`` and ``facts()`` for the description.
    """

    left_out: tuple[LeftOut, ...] = ()

    @property
    def train_ids(self: Any) -> list[int]:
        """Sorted IDs of the shots; of LCLS numpy's uint64, as their frames have."""
        unsigned = self.ids.dtype.kind == "u"
        found: list[int] = list(self.ids) if unsigned else self.ids.tolist()
        return found

    def __getitem__(self: Any, item: Any) -> Any:
        """Return ``run[source, key]``, ``run[detector]``, or the run of some shots."""
        if isinstance(item, str):
            return self.detector(item)
        if isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str):
            return self.key_data(*item)
        return self.select_trains(item)

    def __contains__(self: Any, item: object) -> bool:
        if isinstance(item, tuple) and len(item) == 2:
            return item[0] in self.sources and item[1] in self.keys(str(item[0]))
        return isinstance(item, str) and (
            item in self.sources or item in self.detectors
        )

    __iter__ = None  # run[0] selects a shot, so a loop would be misleading

    # -- selecting -------------------------------------------------------------------

    def with_ids(self: Any, ids: Any) -> Any:
        """Return the run for some of its shots."""
        return self if len(ids) == len(self.ids) else replace(self, ids=ids)

    def select_trains(self: Any, trains: Any) -> Any:
        """Return the run for a selection of its shots.

        Parameters
        ----------
        trains : slice, int, list, bool array, ``by_id[...]`` or ``by_index[...]``
            Positions unless it is ``by_id`` or a boolean DataArray with a coordinate
            ``train``.
        """
        return self.with_ids(select_train_ids(self.ids, trains))

    @entry
    def split_trains(
        self: Any, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Any]:
        """Yield the run in even pieces of its shots."""
        for piece in split_evenly(len(self.ids), parts, trains_per_part):
            yield self.with_ids(self.ids[piece])

    # -- frames ----------------------------------------------------------------------

    def detector_named(self: Any, name: str | None) -> str:
        """Return the name of a detector; without a name the run must have just one.

        Raises
        ------
        SourceNameError
            If there is none of this name, or none is given and there are several.
        """
        known = self.detectors
        if name is None:
            if len(known) == 1:
                return str(next(iter(known)))
            what = "several detectors; name one of them" if known else "no detector"
            raise SourceNameError(f"{self.run_id} has {what}: {listing(known)}")
        if name not in known:
            raise SourceNameError(
                f"no detector {name!r} in {self.run_id}.{did_you_mean(name, known)}"
                f" There are: {listing(known)}"
            )
        return name

    @entry
    def detector(self: Any, name: str | None = None) -> Any:
        """Return a detector; without a name the run must have just one."""
        return ShotDetector(self, self.detector_named(name))

    def frames_of(
        self: Any, detector: str | None, request: FramesRequest, **options: Any
    ) -> xr.DataArray:
        """Return the frames that were asked for."""
        if options:
            raise ArgumentTypeError(f"frames has no option {listing(options)} here")
        name = self.detector_named(detector)
        key = request.key or self.default_key(name)
        images: ShotImages = self.images_of(name, key)
        return shot_frames(images, replace(request, key=key), self.labels_of(name, key))

    # -- description -----------------------------------------------------------------

    def no_source(self: Any, name: str) -> SourceNameError:
        """Return the error for a source that is not there."""
        return SourceNameError(
            f"no source {name!r} in {self.run_id}.{did_you_mean(name, self.sources)}"
            f" There are: {listing(self.sources)}"
        )

    @entry
    def info(self: Any, details_for_sources: Any = ()) -> None:
        """Print what the run holds, with the keys of sources that match globs."""
        globs = details_for_sources
        globs = (globs,) if isinstance(globs, str) else tuple(globs)
        lines = [*repr(self).split("\n"), "", "sources:"]
        for name in self.sources:
            lines.append(f"  - {name}")
            if any(fnmatchcase(name, g) for g in globs):
                lines += [f"      {key}" for key in self.keys(name)]
        print_lines(lines)

    def __repr__(self: Any) -> str:
        facts: Facts = self.facts()
        return as_text(self.run_id, facts)

    def _repr_html_(self: Any) -> str:
        return as_html(self.run_id, self.facts(), "sources", self.sources)


@dataclass(frozen=True, eq=False, repr=False)
class ShotDetector:
    """One detector of a run with one pulse per shot; nothing has been read.

    Attributes
    ----------
    data : run
    detector_name : str
    """

    data: Any
    detector_name: str

    @property
    def kind(self) -> str:
        """What the run calls this kind of detector."""
        return str(self.data.detectors[self.detector_name])

    @property
    def images(self) -> ShotImages:
        """Where the usual images are."""
        name = self.detector_name
        found: ShotImages = self.data.images_of(name, self.data.default_key(name))
        return found

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
        found: list[int] = self.data.train_ids
        return found

    def select_trains(self, trains: Any) -> ShotDetector:
        """Return the detector for a selection of shots."""
        return dataclasses.replace(self, data=self.data.select_trains(trains))

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[ShotDetector]:
        """Yield the detector in even pieces of the shots."""
        for run in self.data.split_trains(parts, trains_per_part):
            yield dataclasses.replace(self, data=run)

    @entry
    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return images as a lazy array; options are those of `Run.frames`."""
        found: xr.DataArray = self.data.frames(self.detector_name, key, **options)
        return found

    def constants(self) -> xr.Dataset:
        """Return what the run knows about the pixels."""
        found: xr.Dataset = self.data.constants(self.detector_name)
        return found

    def __repr__(self) -> str:
        return f"<Detector {self.detector_name!r} ({one_line(self.kind)})>"
