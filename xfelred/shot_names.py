"""Names of shots, as in files and tutorials, read as their numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfelred.errors import ShotNameError, shown

# A tag of SACLA, in files of DataConvert and of Cheetah; or a number written as text.
NAME = re.compile(r"(?:tag[_-])?(\d+)")


def shot_numbers(names: object) -> NDArray[Any]:
    """Return the numbers of shots; those of names such as ``"tag_166762140"``.

    Integers, and an empty array, are returned as they are; ShotNameError for what is
    neither a whole number nor the name of a shot.
    """
    try:
        given = np.asarray(names)
    except (TypeError, ValueError) as error:
        raise ShotNameError(f"{shown(names)} are no IDs of shots") from error
    if given.dtype.kind in "iu" or not given.size:
        return given
    found = [number_of(name) for name in given.ravel().tolist()]
    return np.array(found).reshape(given.shape)


def number_of(name: object) -> int:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    if isinstance(text, str):
        match = NAME.fullmatch(text.strip())
        if match:
            return int(match[1])
    elif isinstance(text, int) and not isinstance(text, bool):
        return text
    elif isinstance(text, float) and text.is_integer():
        return int(text)
    raise ShotNameError(
        f"{shown(name)} is no shot: IDs of trains and tags are integers such as 12, or"
        " names such as 'tag_12'"
    )
