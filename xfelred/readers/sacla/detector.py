"""A detector of a SACLA run: an MPCCD of one or more modules, or an assembled image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    InconsistentDataError,
    SelectionEmptyError,
    listing,
    one_line,
    warn,
)
from xfelred.hdf5.shot_survey import FINE, ImageKind
from xfelred.readers.sacla import constants, frames
from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.files import TagGroup, Tags, number
from xfelred.readers.sacla.survey import WORDS, Survey, image_kind, look_at, unseen
from xfelred.readers.shot_frames import module_positions

if TYPE_CHECKING:
    from xfelred.readers.sacla.run import Run


@dataclass(frozen=True, eq=False)
class Detector:
    """Images of one detector for the tags of a run; nothing but names has been read.

    Attributes
    ----------
    data : Run
    spec : DetectorSpec
    surveys : dict
        What is known about the images of groups; shared by all selections.
    whole : DetectorSpec, optional
        All modules where `spec` has some of them.
    """

    data: Run
    spec: DetectorSpec
    surveys: dict[Any, Any] = field(repr=False)
    whole: DetectorSpec | None = field(default=None, repr=False)

    @property
    def detector_name(self) -> str:
        """Name of the detector."""
        return self.spec.name

    @property
    def kind(self) -> str:
        """One of "assembled", "octal", "dual", "single" and "image"."""
        return self.spec.kind

    @property
    def modules(self) -> list[int]:
        """Numbers of the modules."""
        return list(self.spec.modules)

    @property
    def groups(self) -> tuple[TagGroup, ...]:
        """Groups in the file, in the order of the modules."""
        return self.spec.groups

    @property
    def all_groups(self) -> tuple[TagGroup, ...]:
        """Groups of all modules, also of those that are not selected."""
        return (self.whole or self.spec).groups

    @cached_property
    def ids(self) -> Tags:
        """Tags of the run at which any module has an image, int64 (n,).

        Modules that are not selected count too: the axis is the same for all.
        """
        union = np.unique(np.concatenate([g.tags for g in self.all_groups]))
        return self.data.ids[np.isin(self.data.ids, union)]

    @property
    def train_ids(self) -> list[int]:
        """Tags of the run at which any module, selected or not, has an image."""
        return [int(t) for t in self.ids]

    @property
    def image_kind(self) -> ImageKind:
        """Shape and dtype of the images."""
        # Other modules may have images of another kind.
        key = ("kind", *(g.path for g in self.groups))
        if key not in self.surveys:
            self.surveys[key] = image_kind(self.groups)
        kind: ImageKind = self.surveys[key]
        return kind

    @property
    def module_shape(self) -> tuple[int, int]:
        """Pixels of one module along slow_scan and fast_scan."""
        return self.image_kind.shape

    @property
    def gains(self) -> NDArray[np.float64]:
        """Electrons per adu of each module; NaN where the file has none."""
        return np.array([number(g.info.get("absolute_gain")) for g in self.groups])

    @property
    def reference_gain(self) -> float:
        """Gain of the first module of the whole detector that has one, else NaN.

        All modules are brought to it, also when the first is not selected.
        """
        gains = (number(g.info.get("absolute_gain")) for g in self.all_groups)
        return next((g for g in gains if np.isfinite(g) and g > 0), float("nan"))

    def with_modules(self, modules: Any) -> Detector:
        """Return the detector with some of its modules.

        Raises
        ------
        SelectionEmptyError
            If it has none of them.
        TypeError
            If `modules` are no integers.
        """
        if modules is None:
            return self
        keep = module_positions(modules, self.spec.modules, self.detector_name)
        spec = replace(
            self.spec,
            groups=tuple(self.groups[i] for i in keep),
            modules=tuple(self.modules[i] for i in keep),
        )
        return replace(self, spec=spec, whole=self.whole or self.spec)

    def select_trains(self, trains: Any) -> Detector:
        """Return the detector for a selection of tags; see `Run.select_trains`."""
        run = self.data.with_ids(self.ids).select_trains(trains)
        return replace(self, data=run)

    @entry
    def split_trains(
        self, parts: int | None = None, trains_per_part: int | None = None
    ) -> Iterator[Detector]:
        """Yield the detector in even pieces of its tags."""
        pieces = self.data.with_ids(self.ids).split_trains(parts, trains_per_part)
        for run in pieces:
            yield replace(self, data=run)

    def images(self, ids: Tags) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return (usable, ``detector_status`` or -1) of every tag and module.

        Looks at every image that nobody has looked at yet, which takes about 0.1 ms.
        """
        shape = (len(ids), len(self.groups))
        usable, status = np.zeros(shape, bool), np.full(shape, -1, np.int64)
        kind = self.image_kind
        wrong: list[str] = []
        for m, group in enumerate(self.groups):
            here = np.isin(ids, group.tags)
            at = np.searchsorted(group.tags, ids[here])
            seen_as = (group.path, kind.shape, kind.dtype.str)
            survey: Survey = self.surveys.setdefault(seen_as, unseen(group))
            look_at(group, survey, at, kind)
            usable[here, m] = survey.fault[at] == FINE
            status[here, m] = survey.status[at]
            wrong += [
                f"tag {group.tags[i]} of {group.name} ({WORDS[int(survey.fault[i])]})"
                for i in at[survey.fault[at] != FINE].tolist()
            ]
        self.warn(wrong, kind)
        return usable, status

    def warn(self, wrong: list[str], kind: ImageKind) -> None:
        """Say, once per file, which images cannot be used."""
        said = self.surveys.setdefault("said", set())
        new = [text for text in wrong if text not in said]
        said.update(new)
        if new:
            warn(
                f"{len(new)} images of {self.detector_name} are no {kind.dtype} images"
                f" of shape {kind.shape} and count as not recorded:"
                f" {listing(new, 5)}"
            )

    def complete(self, ids: Tags, missing: str, require: str) -> Tags:
        """Return the tags that `missing` and `require` leave.

        Raises
        ------
        InconsistentDataError
            If an image is missing and ``missing="raise"``.
        SelectionEmptyError
            If no tag is left.
        """
        if missing == "fill" and require == "any":
            return ids
        keep = np.ones(len(ids), bool)
        if require == "event":
            keep &= np.isin(ids, self.data.events.tags)
        if missing != "fill" or require == "all":
            usable, _ = self.images(ids)
            if missing == "raise" and not usable.all():
                train, module = np.argwhere(~usable)[0]
                raise InconsistentDataError(
                    f"{int((~usable).sum())} images (module x tag) of"
                    f" {self.detector_name} are missing: module"
                    f" {self.modules[module]} has none for tag {ids[train]}. Use"
                    " missing='fill' or missing='drop'"
                )
            keep &= usable.all(axis=1)
        if len(ids) and not keep.any():
            raise SelectionEmptyError(
                f"none of {len(ids)} tags of {self.detector_name} has what"
                f" missing={missing!r}, require={require!r} ask for, in modules"
                f" {self.modules}; use missing='fill' or fewer modules"
            )
        return ids[keep]

    def frames(self, key: str | None = None, **options: Any) -> xr.DataArray:
        """Return images as a lazy array; see `xfelred.readers.sacla.frames.frames`."""
        return frames.frames(self, key, **options)

    def constants(self) -> xr.Dataset:
        """Return what the file says about the modules; see `constants`."""
        return constants.module_constants(self)

    def __repr__(self) -> str:
        return (
            f"<Detector {self.detector_name!r} ({one_line(self.kind)}):"
            f" {len(self.modules)} modules, {len(self.ids)} tags>"
        )
