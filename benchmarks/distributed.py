"""What do worker processes cost, what do they get, and how much memory do they take?

    python benchmarks/distributed.py

The run of `reduce.py` on two threads of this process and on a local cluster of two
workers with one thread each (TLS on); the peak memory of the workers for runs of 1, 2
and 4 times the length; and what a scheduler is sent for one block.
"""

import pickle

import dask
import xarray as xr
from common import corrected_run, machine, median_times, read_once, table

import xfelred as xf
from xfelred import geometry, ops

TRAINS, PULSES = 80, 8


def peak(dask_worker):
    """Return the peak resident memory of a worker process in MB."""
    with open("/proc/self/status") as status:
        found = next(line for line in status if line.startswith("VmHWM"))
    return int(found.split()[1]) / 1024


def located(frames):
    """Return frames with an AGIPD-1M geometry."""
    quads = [(-525, 625), (-550, -10), (520, -160), (542.5, 475)]
    panels = geometry.Geometry.from_quad_positions(
        "AGIPD1M", quads, distance=0.2, energy=9300
    )
    return geometry.locate(frames, panels)


def sent(array):
    """Return (blocks, tasks, bytes of the graph as a client sends it)."""
    graph = array.__dask_graph__()
    (small,) = dask.optimize(array)
    return array.data.npartitions, len(small.__dask_graph__()), len(pickle.dumps(graph))


def main():
    machine()
    path = corrected_run(TRAINS, PULSES)
    read_once(path)
    frames = xf.open_run(path).frames(bad_pixels=None)
    jobs = {
        "mean, std, count": ops.statistics(frames, dim=("train", "pulse")),
        "per pulse": ops.statistics(frames, dim="train"),
        "azimuthal": ops.integrate_azimuthally(located(frames), 1000)[["intensity"]],
    }
    with xf.cluster.local(2, 1) as client:
        for name, job in jobs.items():

            def threads(job=job):
                with dask.config.set(scheduler="threads", num_workers=2):
                    return job.compute()

            def workers(job=job):
                return client.compute(job).result()

            one, two = threads(), workers()
            xr.testing.assert_identical(one, two)
            print(f"\n{name}")
            table(
                median_times({"2 threads": threads, "2 workers": workers}, 5),
                "2 threads",
            )
    print()
    for n in (1, 2, 4):
        long = xf.open_run(corrected_run(n * TRAINS, PULSES)).frames(bad_pixels=None)
        with xf.cluster.local(2, 1) as client:
            client.compute(ops.statistics(long, dim=("train", "pulse"))).result()
            peaks = [f"{p:.0f}" for p in client.run(peak).values()]
        print(f"run of {n}x: peak of each worker {' and '.join(peaks)} MB")
    print()
    for name, array in {
        "frames": frames,
        "mean": jobs["mean, std, count"]["mean"],
    }.items():
        blocks, tasks, size = sent(array)
        print(f"{name}: {blocks} blocks, {tasks} tasks, {size} bytes")


if __name__ == "__main__":
    main()
