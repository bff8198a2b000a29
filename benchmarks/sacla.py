"""How fast are SACLA runs, where every image is a dataset of its own?

    python benchmarks/sacla.py

Mean over 1000 assembled images of 512 x 512 pixels (float32, in one piece; then gzip)
against a plain h5py loop over the tags, and opening a run of 5000 tags x 8 modules with
tiny images.
"""

import re

import dask
import h5py
import numpy as np
from common import CACHE, machine, median_times, table

import xfelred as xf
from xfelred import synth

IMAGES = 1000
TAGS, SMALL = 5000, (8, 4)
GROUP = "run_300001/detector_2d_assembled_1"


def simulated(name, **options):
    """Return the path of a simulated run, written once."""
    path = CACHE / f"xfelred-sacla-{name}.h5"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        synth.sacla.write_run(partial, **options)
        partial.rename(path)
    return path


def read_once(path):
    """Bring a file into the page cache."""
    with open(path, "rb") as file:
        while file.read(16 << 20):
            pass


def h5py_mean(path):
    """Add up the images, one group of a tag after the other."""
    with h5py.File(path, "r") as file:
        group = file[GROUP]
        tags = sorted((t for t in group if t.startswith("tag_")), key=tag_number)
        total = np.zeros(group[tags[0]]["detector_data"].shape)
        for tag in tags:
            total += group[tag]["detector_data"][()]
    return total / len(tags)


def tag_number(name):
    return int(re.fullmatch(r"tag_(\d+)", name)[1])


def our_mean(path, threads):
    with dask.config.set(scheduler="threads", num_workers=threads):
        return xf.open_run(path).frames().mean("train").compute()


def means(name, **options):
    path = simulated(name, n_images=IMAGES, n_darks=50, **options)
    read_once(path)
    expected = h5py_mean(path)
    np.testing.assert_allclose(our_mean(path, 2).squeeze(), expected, rtol=1e-5)
    variants = {"h5py, one tag after the other": lambda: h5py_mean(path)}
    for threads in (1, 2):
        variants[f"xfelred, {threads} thread(s)"] = lambda n=threads: our_mean(path, n)
    print(f"\nmean of {IMAGES} images, {name}, opening included")
    table(median_times(variants, 3), "h5py, one tag after the other")


def opening():
    path = simulated("tags", layout="modules", n_images=TAGS, shape=SMALL, n_crystals=0)
    read_once(path)

    def by_hand():
        with h5py.File(path, "r") as file:
            for k in range(1, 9):
                group = file[f"run_300001/detector_2d_{k}"]
                for tag in group:
                    if tag.startswith("tag_"):
                        group[tag]["detector_status"][()]

    variants = {
        "h5py: status of every image": by_hand,
        "xfelred: open_run": lambda: xf.open_run(path),
        "xfelred: open_run, frames": lambda: xf.open_run(path).frames(),
    }
    assert (xf.open_run(path).frames().detector_status == 1).all()
    print(f"\nopening {TAGS} tags x 8 modules")
    table(median_times(variants, 3), "h5py: status of every image")


def main():
    machine()
    means("contiguous")
    means("gzip", compression="shuffle+gzip")
    opening()


if __name__ == "__main__":
    main()
