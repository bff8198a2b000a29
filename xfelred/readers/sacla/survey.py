"""A look at every image without reading it: is it there, and is it usable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import BrokenFileError, InconsistentDataError, listing
from xfelred.hdf5 import OPEN_FILES, Dataset, Group, open_group
from xfelred.hdf5.remembered import remembered
from xfelred.hdf5.shot_survey import (
    NO_IMAGE,
    NO_NUMBERS,
    NO_STATUS,
    NOT_WRITTEN,
    OTHER_DTYPE,
    OTHER_SHAPE,
    UNREADABLE,
    UNSEEN,
    ImageKind,
    Look,
    ShotPlaces,
)
from xfelred.readers.sacla.files import IMAGE, STATUS, TagGroup

PROBES = 9  # images per module of which the usual shape and dtype are taken
# What may be wrong with an image.
WORDS = {
    NO_IMAGE: f"no {IMAGE}",
    OTHER_SHAPE: "another shape",
    NO_NUMBERS: "no numbers",
    OTHER_DTYPE: "another dtype",
    NOT_WRITTEN: "never written",
    UNREADABLE: "damaged",
}


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known about the images of one `TagGroup`, in the order of its tags."""

    status: NDArray[np.int64]  # (n,), ``detector_status``, -1 where there is none
    fault: NDArray[np.int8]  # (n,), `FINE`, or what is wrong with the image


def unseen(group: TagGroup) -> Survey:
    n = len(group.tags)
    return Survey(np.full(n, NO_STATUS, np.int64), np.full(n, UNSEEN, np.int8))


def image_kind(groups: Sequence[TagGroup]) -> ImageKind:
    """Return shape and dtype of the images of a detector, from a few of each module."""
    pieces = [p for g in groups for p in g.pieces]
    several = len({p.file for p in pieces}) > 1
    seen = {f"{p.name} of {p.file}" if several else p.name: probes(p) for p in pieces}
    usual = {n: Counter(k).most_common(1)[0][0] for n, k in seen.items() if k}
    if not usual:
        raise InconsistentDataError(
            f"none of the images that were looked at in {', '.join(seen)} of"
            f" {listing({p.file: None for p in pieces})} has a {IMAGE} of two axes"
        )
    shapes = {name: kind.shape for name, kind in usual.items()}
    if len(set(shapes.values())) > 1:
        raise InconsistentDataError(
            f"modules have images of different shapes: {shapes}. Open the run with"
            " modules= of one shape"
        )
    dtype = np.result_type(*(kind.dtype for kind in usual.values()))
    first = next(iter(usual.values()))
    return ImageKind(first.shape, dtype, first.chunk)


def probes(group: TagGroup) -> list[ImageKind]:
    """Return what some images of a group of a file are, from the first to the last."""
    here = open_group(group.file, group.path)
    if here is None or not len(group.tags):
        return []
    at = np.unique(np.linspace(0, len(group.tags) - 1, PROBES).astype(int))
    names = [f"{group.tag_name(group.tags[i])}/{IMAGE}" for i in at]
    return [kind for name in names if (kind := kind_of(here, name)) is not None]


def kind_of(here: Group, name: str) -> ImageKind | None:
    """Return the kind of one image, None if it is none, or damaged."""
    try:
        found = here.get(name)
    except BrokenFileError:
        return None
    if not isinstance(found, Dataset) or found.ndim != 2:
        return None
    if found.dtype.kind not in "iuf" or 0 in found.shape:
        return None
    slow, fast = found.shape
    return ImageKind((slow, fast), found.dtype.newbyteorder("="), found.chunks)


def look_at(
    group: TagGroup,
    survey: Survey,
    positions: NDArray[np.int64],
    kind: ImageKind,
) -> None:
    """Fill in what is not yet known about some images."""
    todo = positions[survey.fault[positions] == UNSEEN]
    if not len(todo):
        return
    for piece in group.pieces:
        mine = todo[np.isin(group.tags[todo], piece.tags)]
        if not len(mine):
            continue
        shots = ShotPlaces(piece.path, IMAGE, STATUS, piece.dataset(), piece.own)
        look = Look(OPEN_FILES.handle(piece.file), shots, kind)
        names = [piece.tag_name(tag) for tag in group.tags[mine]]
        tags = group.tags[mine].tolist()
        if look.by_header and len(mine) == len(piece.tags):
            what = f"SACLA images 1 {piece.path} {kind.shape} {kind.dtype.str}"
            facts = remembered(piece.file, what, partial(look.all, names, tags))
            look.recall(tags, facts)
        else:
            facts = look.all(names, tags)
        survey.status[mine], survey.fault[mine] = facts["status"], facts["fault"]
