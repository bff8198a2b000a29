"""Darks told by the intensity of the images, where nothing else tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xfelred.lazy import load
from xfelred.readers.request import FramesRequest
from xfelred.readers.sacla.files import IMAGE
from xfelred.readers.sacla.frames import image_plan
from xfelred.readers.sacla.shots import Shots

if TYPE_CHECKING:
    from xfelred.readers.sacla.run import Run

EVERY = 16  # rows of which one is read
BATCH = 64  # tags that are read at once


def with_darks(run: Run, shots: Shots, below: float) -> Shots:
    """Return the shots with those dark whose mean intensity is below a limit.

    One row in sixteen of every image is read.
    """
    detector = run.detector()
    ids = np.unique(np.concatenate([g.tags for g in detector.groups]))
    usable, _ = detector.images(ids)
    request = FramesRequest(
        IMAGE, slice(None), "frame", None, (slice(None, None, EVERY),), np.nan,
        np.float64, None, "1MiB", "fill",
    )  # fmt: skip
    plan = image_plan(detector, request, ids, usable)
    means = np.concatenate(
        [
            mean_of(load(plan.narrow_flat(slice(i, min(i + BATCH, len(ids)), 1))))
            for i in range(0, len(ids), BATCH)
        ]
        or [np.zeros(0)]
    )
    known = np.isfinite(means)
    return shots.with_shutter(ids, means >= below, known, f"intensity below {below:g}")


def mean_of(images: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of every image, NaN where there is none."""
    flat = images.reshape(len(images), -1)
    good = np.isfinite(flat)
    n = good.sum(axis=1)
    total = np.where(good, flat, 0).sum(axis=1)
    return np.divide(total, n, out=np.full(len(flat), np.nan), where=n > 0)
