"""A detector of a SACLA run: an MPCCD of one or more modules, or an assembled image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr
from dask.base import tokenize
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import (
    ArgumentTypeError,
    InconsistentDataError,
    PropertyNameError,
    SelectionEmptyError,
    listing,
    must_be_one_of,
    one_line,
)
from xfelred.names import (
    ABSOLUTE_GAIN,
    BEAM,
    DETECTOR_STATUS,
    IN_EVENT_TABLE,
    LASER_ON,
    LONG_NAME,
    MODULE,
    PHOTON_ENERGY,
    PHOTON_ENERGY_OK,
    REFERENCE_GAIN,
    SHUTTER_KNOWN,
    SHUTTER_OPEN,
    TRAIN,
    UNITS,
)
from xfelred.readers.frames import FrameTexts
from xfelred.readers.paths import fingerprint
from xfelred.readers.request import FramesRequest
from xfelred.readers.sacla.constants import GAINS, module_constants
from xfelred.readers.sacla.files import IMAGE, Tags
from xfelred.readers.sacla.images import ModuleImages
from xfelred.readers.sacla.run_data import RunData
from xfelred.readers.shot_frames import assembled

LONG_NAMES = {
    SHUTTER_OPEN: "the X-ray shutter was open: not a dark shot; False if unknown",
    SHUTTER_KNOWN: "the run tells whether the shutter was open",
    BEAM: "the accelerator delivered beam",
    LASER_ON: "the pump laser was on",
    PHOTON_ENERGY_OK: "the photon energy of the shot was measured",
    DETECTOR_STATUS: "status of the image, 1 is good, -1 unknown",
    IN_EVENT_TABLE: "the tag is in the event table",
}


@dataclass(frozen=True, eq=False)
class Detector(ModuleImages):
    """Images of one detector for the tags of a run; nothing but names has been read.

    Attributes are `data`, the run, and those of `ModuleImages`.
    """

    data: RunData = field(kw_only=True)

    @cached_property
    def ids(self) -> Tags:
        """Tags of the run at which any module has an image, int64 (n,).

        Modules that are not selected count too: the axis is the same for all.
        """
        return self.data.ids[np.isin(self.data.ids, self.tags)]

    @property
    def train_ids(self) -> list[int]:
        """Tags of the run at which any module, selected or not, has an image."""
        return [int(t) for t in self.ids]

    def select_trains(self, trains: object) -> Detector:
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

    def complete(self, ids: Tags, missing: str, require: str) -> Tags:
        """Return the tags that `missing` and `require` leave."""
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
        """Return images as a lazy array (train, pulse, module, slow_scan, fast_scan).

        Parameters
        ----------
        key : str, optional
            Only ``detector_data``, the images.
        **options
            Those of `Run.frames`, and ``require``: tags with an image of "any" module,
            the default, of "all" (as ``missing="drop"``), or those which the "event"
            table knows too.

        Returns
        -------
        DataArray
            adu as in the file; no mask is known. Further coordinates on train:
            ``shutter_open``, ``shutter_known``, ``beam``, ``laser_on`` (each where the
            file tells, False where it is unknown of a shot), ``photon_energy`` (eV,
            cleaned) with ``photon_energy_ok``, ``in_event_table``; ``detector_status``
            (train[, module]), ``absolute_gain`` (module), and ``reference_gain`` (),
            that of the first module of the whole detector.
        """
        own = {k: options.pop(k) for k in ("require",) if k in options}
        return self.frames_of(FramesRequest(key or "", **options), **own)

    def frames_of(
        self, request: FramesRequest, *, require: str = "any", **options: Any
    ) -> xr.DataArray:
        """Return the images that were asked for; see `frames`."""
        if options:
            raise ArgumentTypeError(f"frames has no option {listing(options)} here")
        must_be_one_of("frames: require", require, ("any", "all", "event"))
        request = replace(request, key=request.key or IMAGE)
        if request.key != IMAGE:
            raise PropertyNameError(
                f"{request.key!r} of {self.detector_name} are no images; the images"
                f" are {IMAGE!r}, single values are in run.scalars"
            )
        chosen = self.with_modules(request.modules)
        ids = chosen.complete(self.ids, request.missing, require)
        usable, status = chosen.images(ids)
        token = tokenize([file.token() for file in self.data.files])
        texts = replace(chosen.texts(), history={"require": require})
        coords = chosen.coordinates(ids, status)
        return assembled(chosen.shot_images(ids, usable, token), request, texts, coords)

    def coordinates(
        self, ids: Tags, status: NDArray[np.int64]
    ) -> dict[str, xr.Variable]:
        """Return what is known of some tags, and the gains of the modules."""
        coords = {k: shot_variable(k, v) for k, v in self.data.shots.of(ids).items()}
        one_image = self.kind in ("assembled", "single", "image")
        if one_image and status.shape[1] == 1:
            status = status[:, 0]
        coords[DETECTOR_STATUS] = shot_variable(DETECTOR_STATUS, status)
        if np.isfinite(self.reference_gain):
            for name, dims, value in (
                (ABSOLUTE_GAIN, (MODULE,), self.gains),
                (REFERENCE_GAIN, (), self.reference_gain),
            ):
                attrs = {UNITS: "electron/adu", LONG_NAME: GAINS[name]}
                coords[name] = xr.Variable(dims, value, attrs)
        return coords

    def texts(self) -> FrameTexts:
        """Return what frames say about themselves."""
        run = self.data
        numbers = (self.whole or self.spec).modules
        return FrameTexts(
            facility=run.facility,
            run_id=run.run_id,
            fingerprint=fingerprint(f.token() for f in run.files),
            n_modules=int(max(numbers)) - int(min(numbers)) + 1,
            first_module=int(min(numbers)),
            # Nothing in the file tells whether a dark image was taken off before.
            data_kind="raw",
            left_out=run.left_out,
            attrs={"detector_kind": self.kind, "darks_from": run.shots.told_by},
            long_names={TRAIN: "tag number"},
        )

    def constants(self) -> xr.Dataset:
        """Return what the file says about the modules; see `module_constants`."""
        return module_constants(self)

    def __repr__(self) -> str:
        return (
            f"<Detector {self.detector_name!r} ({one_line(self.kind)}):"
            f" {len(self.modules)} modules, {len(self.ids)} tags>"
        )


def shot_variable(name: str, values: NDArray[Any]) -> xr.Variable:
    """Return a coordinate of shots, or of modules of shots, that only SACLA has."""
    attrs = {UNITS: "1", LONG_NAME: LONG_NAMES.get(name, name)}
    if name == PHOTON_ENERGY:
        attrs = {UNITS: "eV", LONG_NAME: "photon energy of the shot"}
    return xr.Variable((TRAIN, MODULE)[: values.ndim], values, attrs)
