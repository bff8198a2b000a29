"""The modules of a detector and their images; nothing but names has been read."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import listing, warn
from xfelred.hdf5.shot_images import read_images
from xfelred.hdf5.shot_survey import FINE, ImageKind
from xfelred.readers.frames import module_positions
from xfelred.readers.sacla.detectors import DetectorSpec
from xfelred.readers.sacla.files import TagGroup, Tags, number
from xfelred.readers.sacla.survey import WORDS, Survey, image_kind, look_at, unseen
from xfelred.readers.shot_frames import ShotImages


@dataclass(frozen=True, eq=False)
class ModuleImages:
    """Images of the modules of one detector."""

    spec: DetectorSpec
    # What is known about the images of groups; shared by all selections.
    surveys: dict[Any, Any] = field(repr=False)
    # All modules where `spec` has some of them.
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
        return self.spec.groups

    @property
    def all_groups(self) -> tuple[TagGroup, ...]:
        return (self.whole or self.spec).groups

    @property
    def tags(self) -> Tags:
        """Tags at which any module has an image, also one that is not selected."""
        return np.unique(np.concatenate([g.tags for g in self.all_groups]))

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

    def with_modules(self, modules: object) -> Self:
        """Return the detector with some of its modules."""
        if modules is None:
            return self
        keep = module_positions(modules, self.modules, self.detector_name)
        spec = replace(
            self.spec,
            groups=tuple(self.groups[i] for i in keep),
            modules=tuple(self.modules[i] for i in keep),
        )
        return replace(self, spec=spec, whole=self.whole or self.spec)

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

    def shot_images(
        self, ids: Tags, usable: NDArray[np.bool_], token: str
    ) -> ShotImages:
        """Return where the usable images of some tags are; a row is a tag."""
        kind = self.image_kind
        targets: list[tuple[str, str]] = []
        target = np.full(usable.shape, -1, np.int32)
        for column, group in enumerate(self.groups):
            for piece in group.pieces:
                here = usable[:, column] & np.isin(ids, piece.tags)
                target[here, column] = len(targets)
                targets.append((piece.file, piece.dataset()))
        return ShotImages(
            name=self.detector_name,
            ids=ids,
            targets=tuple(targets),
            target=target,
            row=np.broadcast_to(ids[:, None], usable.shape),
            shape=kind.shape,
            dtype=kind.dtype,
            modules=self.spec.modules,
            token=token,
            chunk=(1, *kind.chunk) if kind.chunk else (),
            reader=read_images,
        )
