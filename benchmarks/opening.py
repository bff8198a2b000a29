"""Opening a run of many files, and its first frames, against reading the indexes alone.

python benchmarks/opening.py [number of sequences]; 16 modules make as many files each.
The floor is an h5py loop that reads train IDs, list of sources and INDEX of each file.
"""

import sys
from pathlib import Path

import h5py
from common import CACHE, median_times, table

import xfelred as xf
from xfelred import synth


def raw_run(sequences):
    """Return the directory of a raw AGIPD-1M run in many small files."""
    path = CACHE / f"xfelred-opening-{sequences}"
    if not path.exists():
        partial = path.with_suffix(".partial")
        synth.euxfel.write_run(
            partial,
            n_trains=2 * sequences,
            pulses=1,
            sequences=2,
            corrected=False,
            xgm=False,
            motors=False,
        )
        partial.rename(path)
    return path


def read_indexes(directory):
    """Read what tells where the data of a run lie, file by file."""
    for path in sorted(Path(directory).glob("*.h5")):
        with h5py.File(path, "r") as f:
            f["INDEX/trainId"][:]
            for entry in f["METADATA/dataSources/dataSourceId"].asstr()[:]:
                kind, _, source = entry.partition("/")
                if kind == "INSTRUMENT":
                    source, _, group = source.rpartition("/")
                    f[f"INDEX/{source}/{group}/first"][:]
                    f[f"INDEX/{source}/{group}/count"][:]


def main(sequences=25):
    directory = raw_run(sequences)
    n_files = len(list(directory.glob("*.h5")))
    read_indexes(directory)
    print(f"{n_files} files")
    again = xf.open_run(directory)
    again.frames()
    times = median_times(
        {
            "h5py: train IDs, sources and INDEX": lambda: read_indexes(directory),
            "open_run": lambda: xf.open_run(directory),
            "open_run and frames": lambda: xf.open_run(directory).frames(),
            "frames again": again.frames,
        }
    )
    table(times, "h5py: train IDs, sources and INDEX")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
