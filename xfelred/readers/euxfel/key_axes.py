"""Names and coordinates of the axes of a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xfelred.errors import ArgumentError, listing
from xfelred.readers.entry import entry_positions


def entry_axes(
    shape: tuple[int, ...],
    roi: Any,
    names: Sequence[str] | None,
    coords: Mapping[str, Any] | bool | None,
) -> tuple[list[str], dict[str, Any]]:
    """Return names of the axes of an entry, and their coordinates.

    Parameters
    ----------
    shape : tuple of int
        Of a whole entry.
    roi : slice, int, list or tuple of these
        What is read of it.
    names : sequence of str or None
        For every axis of a whole entry, or for every axis that `roi` leaves.
    coords : mapping, bool or None
        Coordinates; True: the positions of pixels that `roi` takes. None is True if
        there are names.

    Returns
    -------
    list of str
        Names of the axes that `roi` leaves.
    dict
        Coordinates by name; a single number for an axis that `roi` drops.

    Raises
    ------
    ValueError
        If `names` fits neither number of axes.
    """
    at = entry_positions(roi, shape)
    kept = [i for i, where in enumerate(at) if not isinstance(where, int)]
    if names is not None and len(names) not in (len(shape), len(kept)):
        raise ArgumentError(
            f"extra_dims names {len(names)} axes ({listing(names)}), but an entry of"
            f" shape {shape} has {len(shape)}"
            + (f", of which roi leaves {len(kept)}" if len(kept) < len(shape) else "")
        )
    every = names is None or len(names) == len(shape)
    positions = coords is True or (coords is None and names is not None)
    given = {} if coords is None or isinstance(coords, bool) else dict(coords)
    if names is None and not positions:
        return [f"dim_{i}" for i in range(len(kept))], given
    all_names = list(names or (f"dim_{i}" for i in range(len(shape))))
    dims = [all_names[i] for i in kept] if every else all_names
    if not positions:
        return dims, given
    if every:
        return dims, dict(zip(all_names, at, strict=True))
    return dims, {d: at[i] for d, i in zip(dims, kept, strict=True)}
