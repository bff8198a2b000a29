"""What a computation on a run will read and need, for the runs of every facility."""

from __future__ import annotations

from typing import Any, Self

from xfelred.lazy.estimate import RATE, Estimate, estimate


class Planning:
    """``run.plan(...)``, and ``with open_run(...) as run``.

    There is nothing to close: readers share a limited number of open files, and close
    what is not used. So a run stays usable behind the block, as do its lazy arrays.
    """

    def stored(self, path: str, dataset: str) -> tuple[int, int] | None:
        """Return bytes of a value, and of a whole dataset as selected; for `plan`."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        """Do nothing, so that an exception goes on."""

    def close(self) -> None:
        """Do nothing: files that are not used are closed by themselves."""

    def plan(
        self,
        *results: Any,
        workers: int = 1,
        threads: int | None = None,
        rate: float = RATE,
    ) -> Estimate:
        """Return what computing some lazy results will read and need.

        No data are read and nothing is computed.

        Parameters
        ----------
        *results : DataArray, Dataset or dask array
            Frames of this run, or anything made from them. They are computed
            together: what they share counts once. Arrays in memory cost nothing.
        workers : int, optional
            Processes that compute.
        threads : int, optional
            Threads of each; by default the number of cores of this machine.
        rate : float, optional
            Bytes per second that one thread reads and reduces. The default is what one
            core of a small server did with uncompressed files in the page cache; give
            less for slow disks, and about 0.1e9 for gzip.

        Returns
        -------
        Estimate
            Bytes to read, of how many in the run; files, blocks, tasks; size of the
            result; peak memory per worker; seconds. See `xfelred.lazy.estimate`, which
            also tells how the memory is estimated.
        """
        return estimate(
            *results, workers=workers, threads=threads, rate=rate, stored=self.stored
        )
