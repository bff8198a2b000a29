"""How fast are LCLS small-data files, with a million rows in any order?

    python benchmarks/lcls_smalldata.py

Opening a file of 1e6 rows x 400 columns, and 50 columns of it sorted by ID, against
h5py and numpy; then the mean over 2000 images of 2 x 128 x 256 pixels (float32, in one
piece) against an h5py loop in blocks.
"""

import dask
import h5py
import numpy as np
from common import CACHE, machine, median_times, table

import xfelred as xf
from xfelred import synth

ROWS, COLUMNS, READ = 1_000_000, 400, 50
IMAGES, SHAPE, TOGETHER = 2000, (2, 128, 256), 32


def million_rows():
    """Return the path of a file in which four writers' rows follow each other."""
    path = CACHE / "xfelred-lcls-rows.h5"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    order = np.concatenate([np.arange(k, ROWS, 4) for k in range(4)])
    ns = np.arange(ROWS) * 8_333_333
    ids = ((1_700_000_000 + ns // 10**9) << 32) | (ns % 10**9)
    partial = path.with_suffix(".partial")
    with h5py.File(partial, "w") as file:
        file["event_time"], file["fiducials"] = ids[order], np.arange(ROWS)[order]
        values = rng.normal(size=ROWS)
        for i in range(READ):
            file[f"ipm{i}/sum"] = values
        for i in range(COLUMNS - READ):
            options = {"chunks": (100_000,), "compression": "gzip"}
            file.create_dataset(f"epics/pv{i}", data=np.zeros(ROWS, "i1"), **options)
    partial.rename(path)
    return path


def columns_by_hand(path, names):
    with h5py.File(path, "r") as file:
        order = np.argsort(file["event_time"][()], kind="stable")
        return {name: file[name][()][order] for name in names}


def rows():
    path = million_rows()
    names = [f"ipm{i}/sum" for i in range(READ)]
    expected = columns_by_hand(path, names)
    found = xf.open_run(path).scalars(names)
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])
    hand = f"h5py + numpy: {READ} columns sorted"
    variants = {
        hand: lambda: columns_by_hand(path, names),
        "xfelred: open_run": lambda: xf.open_run(path),
        "xfelred: open_run, list all columns": lambda: xf.open_run(path).columns,
        f"xfelred: open_run, {READ} columns": lambda: xf.open_run(path).scalars(names),
    }
    print(f"\n{ROWS} rows x {COLUMNS} columns, not in the order of time")
    table(median_times(variants, 3), hand)


def mean_by_hand(path):
    with h5py.File(path, "r") as file:
        data = file["jungfrau1M/calib"]
        total, block = np.zeros(SHAPE), np.empty((TOGETHER, *SHAPE), np.float32)
        for start in range(0, IMAGES, TOGETHER):
            n = min(TOGETHER, IMAGES - start)
            data.read_direct(block, np.s_[start : start + n], np.s_[:n])
            total += block[:n].sum(axis=0, dtype=np.float64)
    return total / IMAGES


def our_mean(path, threads):
    with dask.config.set(scheduler="threads", num_workers=threads):
        frames = xf.open_run(path).frames(bad_pixels=None)
        return frames.mean("train").compute()


def images():
    path = CACHE / "xfelred-lcls-images.h5"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        synth.lcls.write_smalldata(
            partial, n_events=IMAGES, shape=SHAPE, without_image=0.0
        )
        partial.rename(path)
    expected = mean_by_hand(path)
    np.testing.assert_allclose(our_mean(path, 2).squeeze(), expected, rtol=1e-4)
    hand = f"h5py, {TOGETHER} images at once"
    variants = {hand: lambda: mean_by_hand(path)}
    for threads in (1, 2):
        variants[f"xfelred, {threads} thread(s)"] = lambda n=threads: our_mean(path, n)
    print(f"\nmean of {IMAGES} images of {SHAPE}, opening included")
    table(median_times(variants, 3), hand)


def main():
    machine()
    rows()
    images()


if __name__ == "__main__":
    main()
