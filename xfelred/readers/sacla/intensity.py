"""Darks told by the intensity of the images, where nothing else tells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from xfelred.lazy import load
from xfelred.readers.entry import entry_window
from xfelred.readers.frames import Pixels
from xfelred.readers.sacla.images import ModuleImages
from xfelred.readers.sacla.shots import Shots
from xfelred.readers.shot_frames import image_plan

EVERY = 16  # rows of which one is read
BATCH = 64  # tags that are read at once


def with_darks(images: ModuleImages, shots: Shots, below: float) -> Shots:
    """Return the shots with those dark whose mean intensity is below a limit.

    One row in sixteen of every image is read.
    """
    ids = images.tags
    usable, _ = images.images(ids)
    found = images.shot_images(ids, usable, "")
    every = list(range(len(images.modules)))
    window, lengths, _ = entry_window((slice(None, None, EVERY),), found.shape)
    pixels = Pixels(window, lengths, np.dtype(np.float64), np.nan)
    plan = image_plan(found, pixels, every, flat=True)
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
