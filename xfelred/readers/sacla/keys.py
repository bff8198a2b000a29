"""One key of one source: what it is, without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, PropertyNameError, did_you_mean, listing
from xfelred.hdf5 import Dataset
from xfelred.hdf5.objects import say_lost
from xfelred.hdf5.rows import open_group
from xfelred.names import LONG_NAME, MODULE, TRAIN, UNITS
from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.files import EVENTS, IMAGE, TagGroup, Tags
from xfelred.readers.sacla.places import units_of

if TYPE_CHECKING:
    from xfelred.readers.sacla.run import Run

TAG_UNITS = {"temperature": "degC", IMAGE: "adu"}


def image_keys(spec: DetectorSpec) -> list[str]:
    """Return what the first tag of a detector has, sorted."""
    for group in spec.groups:
        if len(group.tags):
            first = group.piece_of(group.tags[0])
            name = f"{first.path}/{first.tag_name(group.tags[0])}"
            here = open_group(first.file, name)
            return sorted(here) if here is not None else []
    return []


@dataclass(frozen=True, eq=False)
class KeyData:
    """One key: a column of the event table, or a value per tag and module.

    Attributes
    ----------
    run : Run
    source, key : str
    """

    run: Run
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

    @property
    def is_column(self) -> bool:
        """Whether it is a column of the event table."""
        return self.source == EVENTS

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis: train[, module], and those of a value."""
        if self.is_column:
            column = self.run.events.dataset(self.key)
            return (len(self.run.event_ids), *column.shape[1:])
        detector = self.run.detector(self.source)
        return (len(detector.ids), len(detector.modules), *self.first.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype in the file."""
        if self.is_column:
            return self.run.events.dataset(self.key).dtype
        return self.first.dtype

    @property
    def first(self) -> Dataset:
        """The dataset of the first tag."""
        group = next(g for g in self.run.spec(self.source).groups if len(g.tags))
        group, tag = group.piece_of(group.tags[0]), group.tags[0]
        name = f"{group.path}/{group.tag_name(tag)}"
        here = open_group(group.file, name)
        found = None if here is None else here.dataset(self.key)
        if found is None:
            raise BrokenFileError(f"no {name}/{self.key} in {group.file}")
        return found

    @property
    def units(self) -> str:
        """Unit, as far as the name tells."""
        if self.is_column:
            return units_of(self.key)
        return TAG_UNITS.get(self.key, "1")

    def xarray(self) -> xr.DataArray:
        """Return the values: (train, ...) or (train, module), read at once.

        Images come as lazy frames.
        """
        if self.is_column:
            return self.run.event(self.key)
        if self.key == IMAGE:
            return self.run.frames(self.source)
        detector = self.run.detector(self.source)
        values = np.stack(
            [tag_values(g, self.key, detector.ids) for g in detector.groups],
            axis=1,
        )
        attrs = {UNITS: self.units, LONG_NAME: f"{self.source} {self.key}"}
        coords = {TRAIN: detector.ids, MODULE: detector.modules}
        return xr.DataArray(values, coords, (TRAIN, MODULE), name=self.key, attrs=attrs)

    def ndarray(self) -> NDArray[Any]:
        """Return the values as a numpy array."""
        return np.asarray(self.xarray().data)


def tag_values(group: TagGroup, key: str, ids: Tags) -> NDArray[np.float64]:
    """Return a number that is stored with every image, NaN where there is none.

    Raises
    ------
    BrokenFileError
        If the file cannot be read.
    """
    out = np.full(len(ids), np.nan)
    for piece in group.pieces:
        fill_values(piece, key, ids, out)
    return out


def fill_values(group: TagGroup, key: str, ids: Tags, out: NDArray[np.float64]) -> None:
    """Write the numbers of the tags of one file, in place."""
    here = open_group(group.file, group.path)
    if here is None:
        return
    lost = {}
    for i in np.flatnonzero(np.isin(ids, group.tags)).tolist():
        name = f"{group.tag_name(ids[i])}/{key}"
        try:
            found = here.dataset(name)
            if found is not None and found.size == 1 and found.dtype.kind in "iuf":
                out[i] = float(np.asarray(found[()]).ravel()[0])
        except BrokenFileError as error:
            lost[name] = error
    say_lost(here, lost)
