"""Computing several results of a run in one pass through its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import dask
import dask.array as da
import xarray as xr
from dask.base import tokenize

from xfelred.entries import entry
from xfelred.lazy.dask_seam import (
    Alias,
    HighLevelGraph,
    Key,
    MaterializedLayer,
    as_others,
)
from xfelred.lazy.guarded import GuardedArray, is_here, room_of
from xfelred.lazy.rooms import ROOM
from xfelred.lazy.together import together


@entry
def compute_together(
    *results: xr.DataArray | xr.Dataset,
) -> tuple[xr.DataArray | xr.Dataset, ...]:
    """Compute several lazy results of the same frames in one pass through the files.

    Alone, and also in one ``dask.compute(a, b)``, each result reads, unpacks and
    calibrates the frames on its own. Here this is done once, a few frames at a time;
    what several results are made of (calibrated frames, polar maps) is computed once,
    too.

    Parameters
    ----------
    *results : DataArray or Dataset
        Lazy or not: frames, results of every frame, statistics, bins, correlations, and
        what xarray made of these. Those that start from the same frames, of the same
        selection, are made together: select first, then compute.

    Returns
    -------
    tuple of DataArray or Dataset
        The same in memory, in the order given. Sums may differ in their last bits from
        those that are computed alone, as they are added up in other parts; they have
        the same bits on any scheduler and with any number of threads.

    Raises
    ------
    TooLargeError
        If the results do not fit into the memory that is free.

    Warns
    -----
    UserWarning
        If a result reads the files on its own: sums of more than 256 MiB (many bins of
        many pixels), or kernels that need the whole run, or all pulses of a large
        detector, at once.

    Notes
    -----
    A task reads a stretch of the run, of 256 MiB or more, and holds the sums of all
    results, and 8 frames or 32 MiB.

    Examples
    --------
    >>> import tempfile
    >>> from xfelred import compute_together, open_run, ops
    >>> from xfelred.synth.euxfel import write_run
    >>> place = tempfile.TemporaryDirectory()
    >>> _ = write_run(place.name, n_trains=4, modules=[0], pulses=2, seed=1)
    >>> frames = open_run(place.name).detector().frames()
    >>> sums = ops.statistics(frames, ("train", "pulse"))
    >>> brightest = frames.max(("module", "slow_scan", "fast_scan"))
    >>> sums, brightest = compute_together(sums, brightest)
    >>> brightest.sizes, int(sums["count"].max())
    (Frozen({'train': 4, 'pulse': 2}), 8)
    >>> place.cleanup()
    """
    copies = [result.copy(deep=False) for result in results]
    variables = [v for one in copies for v in variables_of(one) if is_lazy(v.data)]
    arrays = {v.data.name: v.data for v in variables}
    repeated = Counter(v.data.name for v in variables)
    if arrays:
        names = list(arrays)
        found = dask.compute(*of_one_graph(list(arrays.values())))
        values = dict(zip(names, found, strict=True))
        for variable in variables:
            name = variable.data.name
            variable.data = values[name]
            # Who asks twice for a result gets two arrays.
            values[name] = values[name].copy() if repeated[name] > 1 else values[name]
    return tuple(copies)


def is_lazy(data: object) -> bool:
    return isinstance(data, da.Array)


def variables_of(found: xr.DataArray | xr.Dataset) -> Iterator[xr.Variable]:
    """Yield the variables of a copy, which may be given other data."""
    if isinstance(found, xr.Dataset):
        yield from found.variables.values()
    else:
        yield found.variable
        yield from (coord.variable for coord in found.coords.values())


def of_one_graph(arrays: list[da.Array]) -> list[da.Array]:
    """Return the same arrays, which read what they share once, under other names.

    The names of the old tasks stand for tasks of another kind, which may be in the
    memory of a cluster.
    """
    merged = HighLevelGraph.merge(*(array.dask for array in arrays))
    graph = together(merged, [array.name for array in arrays])
    rooms = [room_of(array) if is_here() else None for array in arrays]
    keys = [key for array in arrays for key in keys_of(array)]
    mark = f"together-{tokenize(*keys)}"
    tasks, names = as_others(graph, [*keys, *filter(None, rooms)], mark)
    below = MaterializedLayer(tasks)
    found = []
    for array, room in zip(arrays, rooms, strict=True):
        name = f"{array.name}-{mark}"
        own: dict[Key, Key] = {(name, *key[1:]): key for key in keys_of(array)}
        own |= {(name, ROOM): room} if room else {}
        top = Results(
            {new: Alias(new, names.get(old, old)) for new, old in own.items()}
        )
        top.room = (name, ROOM) if room else None
        graph = HighLevelGraph({mark: below, name: top}, {mark: set(), name: {mark}})
        found.append(GuardedArray(graph, name, array.chunks, dtype=array.dtype))
    return found


def keys_of(array: da.Array) -> list[tuple[Any, ...]]:
    blocks = product(*(range(n) for n in array.numblocks))
    return [(array.name, *block) for block in blocks]


class Results(MaterializedLayer):  # type: ignore[misc]
    """The blocks of a result, and the key of its room, if there is one."""

    room: Key | None = None
