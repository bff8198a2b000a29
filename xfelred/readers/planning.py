"""What a computation on a run will read and need, for the runs of every facility."""

from __future__ import annotations

from typing import Any

from xfelred.lazy.estimate import RATE, Estimate, estimate
from xfelred.readers.context import Context


class Planning(Context):
    """The method `plan` of a run, which must have a method `stored`."""

    def plan(
        self: Any,
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
