"""What a computation will read and need, before anything is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from html import escape
from math import prod
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import is_dask_collection
from dask.system import CPU_COUNT
from dask.utils import format_bytes

from xfelred.errors import ArgumentError, ArgumentTypeError, listing
from xfelred.kernels.first_use import seconds_of_first_use
from xfelred.lazy.dask_seam import HighLevelGraph, flatten
from xfelred.lazy.free_memory import free_memory
from xfelred.lazy.needs import is_ours, is_recipe, layer_work
from xfelred.lazy.source import ReadPlan
from xfelred.lazy.work import LayerWork, entries

RATE = 0.7e9  # bytes per second and thread; see `estimate`
PROCESS = 250 << 20  # bytes of a process that has imported everything

# Bytes of one value in the file, and of all that the run holds of a dataset.
Size = tuple[int, int] | None
Stored = Callable[[str, str], Size]
Sizes = Mapping[str, Size]


@dataclass(frozen=True)
class Estimate:
    """What a computation will read and need; see `estimate`.

    Attributes
    ----------
    bytes_to_read : int
        Recorded values that will be read from files, as they are in memory before they
        are converted: compressed files hold fewer bytes.
    bytes_total : int or None
        What the run holds of the same keys in all modules, None if unknown.
    files : int
        Files that will be read.
    blocks : int
        Pieces that are read, each by one task.
    tasks : int
        Tasks that do something, after culling and after fusing layers of blocks. Dask
        may join some more of them when it submits.
    result_bytes : int
        Size of the result in memory.
    peak_memory_per_worker : int
        Bytes.
    seconds : float
        Estimated duration, of the work alone.
    seconds_to_compile : float
        At most what comes before: kernels that this process has not used yet are
        compiled, or loaded from the cache that ``xfelred warm-up`` fills. Other workers
        have used none.
    memory_free : int
        Bytes of memory that this process could still take.
    workers, threads : int
        Workers, and threads of each.
    rate : float
        Bytes per second that one thread reads and reduces.
    by_dask : tuple of str
        Operations of dask that take whole blocks of what is read: they do not stream,
        and a selection after them reads as much.
    """

    bytes_to_read: int
    bytes_total: int | None
    files: int
    blocks: int
    tasks: int
    result_bytes: int
    peak_memory_per_worker: int
    seconds: float
    workers: int
    threads: int
    rate: float
    seconds_to_compile: float = 0.0
    memory_free: int | None = None
    by_dask: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all attributes as JSON types."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """Return (what, how much) for a person."""
        read = format_bytes(self.bytes_to_read)
        if self.bytes_total:
            part = self.bytes_to_read / self.bytes_total
            read += f" of {format_bytes(self.bytes_total)} in the run ({part:.2%})"
        memory = format_bytes(self.peak_memory_per_worker)
        speed = format_bytes(int(self.rate))
        whole = [("by blocks", listing(self.by_dask) + ": not streamed, by dask")]
        return [
            ("to read", read),
            ("files", f"{self.files}"),
            ("blocks", f"{self.blocks}"),
            ("tasks", f"{self.tasks}"),
            ("result", format_bytes(self.result_bytes) + self.too_large()),
            ("peak memory", f"{memory} per worker"),
            ("time", self.duration()),
            (
                "workers",
                f"{self.workers} x {self.threads} threads at {speed}/s per thread",
            ),
            *(whole if self.by_dask else []),
        ]

    def too_large(self) -> str:
        if self.memory_free is None or self.result_bytes <= self.memory_free:
            return ""
        free = format_bytes(self.memory_free)
        return f": does not fit into the {free} that are free here; write it to a file"

    def duration(self) -> str:
        """Return how long it takes, no more exactly than that can be known."""
        together = self.seconds + self.seconds_to_compile
        text = rounded_time(together)
        if self.seconds_to_compile < max(1, together / 10):
            return text
        return f"{text}, with compiling"

    def __repr__(self) -> str:
        lines = [f"  {what:<12}{text}" for what, text in self.rows()]
        return "\n".join([f"<xfelred.{type(self).__name__}>", *lines])

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th>{escape(what)}</th><td>{escape(text)}</td></tr>"
            for what, text in self.rows()
        )
        return f"<table><tbody>{''.join(rows)}</tbody></table>"


def estimate(
    *results: object,
    workers: int = 1,
    threads: int | None = None,
    rate: float = RATE,
    stored: Stored | None = None,
) -> Estimate:
    """Return what computing some lazy results will read and need.

    Nothing is read and nothing is computed; the graph is not made either, but followed
    layer by layer.

    Parameters
    ----------
    *results : DataArray, Dataset, dask array or other dask collection
        They are computed together: what they share counts once. Arrays in memory cost
        nothing.
    workers : int, optional
        Processes that compute.
    threads : int, optional
        Threads of each; by default the number of cores of this machine.
    rate : float, optional
        Bytes per second that one thread reads and reduces. The default of 0.7 GB/s is
        what one core of a small server did with uncompressed files in the page cache
        (mean, standard deviation and count of 0.3 GB; 0.6 to 0.8). Values of gzip files
        came at 0.1 GB/s. Slow disks need a number of their own.
    stored : callable, optional
        ``stored(path, dataset)`` returns the bytes of one value in the file and the
        bytes of all that the run holds of this dataset, None if that is unknown. By
        default values are counted as wide as they are in memory.

    Returns
    -------
    Estimate

    Raises
    ------
    ArgumentError
        If `workers`, `threads` or `rate` is not positive.

    Notes
    -----
    Bytes and tasks are exact. The memory of a worker is that of a process with its
    libraries, and for each thread a block of the result, which is copied when it is
    written, and the task that needs most: a reduction its sub-blocks and its state
    twice, or its results where one task makes a block of them; a map over frames some
    pieces of a few MiB; any other task what it reads, twice if it also computes. States
    that wait to be combined, at most 8, are added.
    Measured peaks of statistics, of frames written block by block and of azimuthal
    integration are within a factor of 1.5. What other operations of dask hold between
    blocks is not known. A result that is computed rather than written needs up to twice
    `result_bytes` besides, while its blocks are joined.
    """
    threads = CPU_COUNT if threads is None else threads
    for name, value in (("workers", workers), ("threads", threads), ("rate", rate)):
        if not value > 0:
            raise ArgumentError(f"{name} must be positive, got {value!r}")
    lazy = list(lazy_parts(results))
    arrays = [x for x in lazy if isinstance(x, da.Array)]
    work = all_work(lazy)
    plans = [pair for layer in work for pair in layer.plans if entries(pair[0])]
    found = known_sizes((plan for plan, _ in plans), stored)
    to_read = sum(times * read_bytes(plan, found) for plan, times in plans)
    block = max((largest_block(a) for a in arrays), default=0)
    return Estimate(
        bytes_to_read=to_read,
        bytes_total=total(found),
        files=len({path for plan, _ in plans for path, _ in datasets(plan)}),
        blocks=sum(layer.reading for layer in work),
        tasks=sum(layer.tasks for layer in work),
        result_bytes=sum(nbytes(r) for r in results),
        peak_memory_per_worker=PROCESS + memory(work, block, threads),
        seconds=to_read / (rate * workers * threads),
        workers=int(workers),
        threads=int(threads),
        rate=float(rate),
        seconds_to_compile=seconds_of_first_use(
            (function for layer in work for function in layer.calls),
            everywhere=workers > 1,
        ),
        memory_free=free_memory()[0],
        by_dask=tuple(sorted(on_whole_blocks(lazy))),
    )


def rounded_time(seconds: float) -> str:
    """Return a duration in words, with two digits at most."""
    if seconds < 1:
        return "under a second"
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        number = seconds / length
        if number >= 2 or unit == "s":
            break
    digits = 10 ** max(0, len(f"{number:.0f}") - 2)
    return f"about {round(number / digits) * digits} {unit}"


def lazy_parts(results: Iterable[object]) -> Iterator[Any]:
    """Yield the dask collections in some results, each array once."""
    for result in results:
        if isinstance(result, xr.DataArray):
            result = result.to_dataset(name="result")
        if isinstance(result, xr.Dataset):
            yield from (
                v.data for v in result.variables.values() if is_dask_collection(v.data)
            )
        elif is_dask_collection(result):
            yield result
        elif not hasattr(result, "nbytes"):
            raise ArgumentTypeError(
                "expected a DataArray, a Dataset or a dask collection, not"
                f" {type(result).__name__}"
            )


def all_work(lazy: list[Any]) -> list[LayerWork]:
    if not lazy:
        return []
    names = {x.name for x in lazy if isinstance(x, da.Array)}
    others = [x for x in lazy if not isinstance(x, da.Array)]
    keys = {key for x in others for key in flatten([x.__dask_keys__()])}
    graphs = [x.__dask_graph__() for x in lazy]
    graph = graphs[0] if len(graphs) == 1 else HighLevelGraph.merge(*graphs)
    return layer_work(graph, sorted(names), keys)


def on_whole_blocks(lazy: list[Any]) -> set[str]:
    """Return the operations of dask that stand on blocks of a recipe."""
    found: set[str] = set()
    for collection in lazy:
        graph = collection.__dask_graph__()
        if not isinstance(graph, HighLevelGraph):
            continue
        recipes = {n for n, layer in graph.layers.items() if is_recipe(layer)}
        for name, below in graph.dependencies.items():
            if below & recipes and not is_ours(graph.layers[name]):
                found.add(str(name).rsplit("-", 1)[0])
    return found


def nbytes(result: object) -> int:
    """Return the size of a result in memory, 0 if that is unknown."""
    size = getattr(result, "nbytes", 0)  # NaN, or lazy, where lengths are unknown
    if isinstance(result, xr.DataArray):
        size += sum(c.nbytes for c in result.coords.values() if c.chunks)
    return int(size) if isinstance(size, (int, np.integer)) else 0


def largest_block(array: da.Array) -> int:
    size = prod(max(c, default=0) for c in array.chunks) * array.dtype.itemsize
    return int(size) if np.isfinite(size) else 0


def memory(work: list[LayerWork], block: int, threads: int) -> int:
    """Return the memory of a worker beyond that of a process; see `estimate`."""
    task = max((layer.task_bytes for layer in work), default=0)
    held = sum(layer.held_bytes for layer in work)
    return threads * (max(task, block) + block) + held


def read_bytes(plan: ReadPlan, found: Sizes) -> int:
    """Return the bytes of the values that a plan reads, as they are in the files."""
    (_, name), *_ = datasets(plan)
    size = found[name]
    width = plan.dtype.itemsize if size is None else size[0]
    return entries(plan) * prod(plan.entry_shape) * width


def known_sizes(plans: Iterable[ReadPlan], stored: Stored | None) -> Sizes:
    """Return what is known about every dataset of some plans, by its name."""
    # Also those of modules that were not selected: plans keep their names.
    paths = {name: path for plan in plans for path, name in plan.targets}
    return {n: stored(path, n) if stored else None for n, path in paths.items()}


def total(found: Sizes) -> int | None:
    """Return the bytes that the run holds of these datasets, None if unknown."""
    known = [size[1] for size in found.values() if size is not None]
    return sum(known) if len(known) == len(found) else None


def datasets(plan: ReadPlan) -> set[tuple[str, str]]:
    """Return (path, dataset name) of everything that a plan reads."""
    some = plan.patterns.sizes()[plan.pattern] > 0
    used = np.zeros(len(plan.targets) + 1, bool)
    used[plan.target[some]] = True  # the last one stands for -1, no data
    return {plan.targets[i] for i in np.flatnonzero(used[:-1])}
