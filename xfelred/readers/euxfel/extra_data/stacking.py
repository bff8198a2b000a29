"""Arrays of several sources of one train as one array, for sources that all have it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.entries import entry
from xfelred.errors import InconsistentDataError, NoDataError, PropertyNameError


@entry
def stack_data(
    train: Mapping[str, Mapping[str, Any]],
    data: str,
    axis: int = -3,
    xcept: Iterable[str] | Mapping[str, Any] = (),
) -> NDArray[Any]:
    """Stack the data of the sources of one train, in the order of their numbers.

    For the modules of a detector use `stack_detector_data`, which fills those that are
    missing.

    Parameters
    ----------
    train : mapping
        ``{source: {key: array}}`` for one train.
    data : str
        Key to stack, for example ``image.data``.
    axis : int, optional
        New axis, of sources, in the result. They are sorted by the numbers in their
        names: ``B_7_0`` before ``A_12_0`` before ``A_12_1``.
    xcept : iterable of str, optional
        Sources to leave out.

    Returns
    -------
    array

    Raises
    ------
    NoDataError
        If no source is left.
    PropertyNameError
        If a source lacks the key.
    InconsistentDataError
        If dtypes or shapes differ.
    """
    left_out = {xcept} if isinstance(xcept, str) else set(xcept)
    sources = sorted((s for s in train if s not in left_out), key=numbers_in)
    if not sources:
        raise NoDataError(
            f"nothing to stack: of {len(train)} sources of this train none is left"
            f" without xcept={sorted(left_out)}"
        )
    lacking = [s for s in sources if data not in train[s]]
    if lacking:
        raise PropertyNameError(
            f"{lacking[0]!r} and {len(lacking) - 1} more of {len(sources)} sources have"
            f" no {data!r} in this train; leave them out (xcept=), or fill them:"
            " stack_detector_data"
        )
    arrays = [np.asarray(train[s][data]) for s in sources]
    for source, array in zip(sources, arrays, strict=True):
        if (array.dtype, array.shape) != (arrays[0].dtype, arrays[0].shape):
            raise InconsistentDataError(
                f"{data!r} is {array.dtype} {array.shape} in {source!r}, but"
                f" {arrays[0].dtype} {arrays[0].shape} in {sources[0]!r}; leave some"
                " out (xcept=)"
            )
    return np.stack(arrays, axis=axis)


def numbers_in(name: str) -> tuple[list[int], str]:
    """Return the numbers in a name, by which sources are sorted, and the name."""
    return [int(n) for n in re.findall(r"\d+", name)], name
