"""What a file of the calibration suite holds, as the user's cache keeps it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from xfelred.hdf5.remembered import Facts, kept_dtype
from xfelred.readers.lcls_calibsuite.contents import Contents, Piece, Pieces
from xfelred.readers.paths import file_at

KEPT = "LCLS calibration suite 1"  # another number where the form of these changes
PLAIN = (str, int, float, bool, type(None), np.ndarray)


def facts_from(contents: Contents) -> Facts:
    """Return facts, which are not kept if a field of the header would change by it."""
    plain = all(type(value) in PLAIN for value in contents.metadata.values())
    return {
        "plain": None if plain else object(),
        "steps": contents.steps,
        "n_events": contents.n_events,
        "detectors": listed(contents.detectors),
        "series": listed(contents.series),
        "value_name": contents.value_name,
        "metadata": contents.metadata,
    }


def listed(arrays: dict[str, Pieces]) -> dict[str, list[Any]]:
    return {
        name: [
            (step, p.dataset, p.shape, kept_dtype(p.dtype), p.per_event, p.at, p.chunks,
             p.members)
            for step, p in pieces.items()
        ]
        for name, pieces in arrays.items()
    }  # fmt: skip


def contents_from(path: str, facts: Facts) -> Contents:
    found = file_at(path)
    return Contents(
        path=path,
        identity=(os.path.basename(path), found.size, found.mtime),
        steps=facts["steps"],
        n_events=facts["n_events"],
        detectors=pieces_from(facts["detectors"]),
        series=pieces_from(facts["series"]),
        value_name=facts["value_name"],
        metadata=facts["metadata"],
    )


def pieces_from(arrays: dict[str, list[Any]]) -> dict[str, Pieces]:
    return {
        name: {
            step: Piece(
                dataset,
                tuple(shape),
                np.dtype(dtype),
                per_event,
                at,
                None if chunks is None else tuple(chunks),
                tuple((number, member) for number, member in members),
            )
            for step, dataset, shape, dtype, per_event, at, chunks, members in pieces
        }
        for name, pieces in arrays.items()
    }
