"""Opening a run of many files, and its first frames, against reading the indexes alone.

    python benchmarks/opening.py [number of sequences]
    python benchmarks/opening.py long    # 1e6 trains x 16 modules in 800 files
    python benchmarks/opening.py many    # 5000 slow sources, train by train
    python benchmarks/opening.py lcls    # calibration suite of 300 steps; 1e6 events

16 modules make as many files each. The floor is an h5py loop that reads train IDs, list
of sources and INDEX of each file. What is long, has many sources or is of LCLS is
opened in a new process, without and (twice) with a cache directory.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from common import CACHE, machine, median_times, table
from lcls_smalldata import million_rows

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


def daq_file(path, ids, sources):
    """Write a file of format 1.2 without data; `sources` maps name to rows a train."""
    n, text = len(ids), h5py.string_dtype("ascii")
    with h5py.File(path, "w") as f:
        f["METADATA/dataFormatVersion"] = np.array([b"1.2"])
        f["METADATA/proposalNumber"] = np.array([700000], np.uint32)
        f["METADATA/runNumber"] = np.array([1], np.uint32)
        lists = f.create_group("METADATA/dataSources")
        lists.create_dataset("dataSourceId", data=list(sources), dtype=text)
        f["INDEX/trainId"] = ids
        f["INDEX/flag"] = np.ones(n, np.int32)
        for name, each in sources.items():
            place = f"INDEX/{name.split('/', 1)[1]}"
            f[f"{place}/first"] = np.arange(n, dtype=np.uint64) * each
            f[f"{place}/count"] = np.full(n, each, np.uint64)
            if name.startswith("CONTROL"):
                for key in ("actualPosition", "state"):
                    f[f"{name}/{key}/value"] = np.arange(n, dtype=float)
                    f[f"{name}/{key}/timestamp"] = ids
            else:
                image = f.create_group(name)
                pixels = {"shape": (n, 512, 128), "chunks": (1, 512, 128)}
                image.create_dataset("data", dtype="f4", **pixels)
                image["pulseId"] = np.zeros(n, np.uint64)
                image["cellId"] = np.zeros(n, np.uint16)


def long_run():
    """Return a run of 1e6 trains x 16 modules; its pixels were never written."""
    path = CACHE / "xfelred-opening-long"
    partial = path.with_suffix(".partial")
    if not path.exists():
        partial.mkdir(exist_ok=True)
        ids = np.arange(10**6, dtype=np.uint64) + 10**9
        for m in range(16):
            source = {f"INSTRUMENT/SPB_DET_AGIPD1M-1/DET/{m}CH0:xtdf/image": 1}
            for k, part in enumerate(np.array_split(ids, 50)):
                name = f"CORR-R0001-AGIPD{m:02d}-S{k:05d}.h5"
                daq_file(partial / name, part, source)
        partial.rename(path)
    return path


def many_sources():
    """Return a run of 5000 slow sources with 4 keys each and 100 trains, in 4 files."""
    path = CACHE / "xfelred-opening-many"
    partial = path.with_suffix(".partial")
    if not path.exists():
        partial.mkdir(exist_ok=True)
        ids = np.arange(100, dtype=np.uint64) + 10**9
        for k in range(4):
            some = {f"CONTROL/SA1_XTD{j % 9}/MDL/DEV{j}": 1 for j in range(k, 5000, 4)}
            daq_file(partial / f"RAW-R0001-DA{k:02d}-S00000.h5", ids, some)
        partial.rename(path)
    return path


FRESH = """
import resource, sys, time
import xfelred as xf
import xfelred.readers.euxfel.tables, xfelred.readers.lcls.reader
def step(name, make):
    wall, cpu = time.perf_counter(), time.process_time()
    made = make()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {name:<14}{wall:>8.2f} s{cpu:>8.2f} s CPU{peak:>8.0f} MB")
    return made
step("imports", lambda: xf.open_run)
run = step("open_run", lambda: xf.open_run(sys.argv[1]))
if run.facility == "lcls":
    step("sources", lambda: run.sources)
elif run.detectors:
    step("frames", run.frames)
    step("frames again", run.frames)
else:
    trains = run.trains()
    _, data = step("first train", lambda: next(trains))
    step("one source", lambda: len(data[run.sources[7]]))
    step("all of it", lambda: sum(map(len, data.values())))
    _, data = step("next train", lambda: next(trains))
    step("all of it", lambda: sum(map(len, data.values())))
    step("require_all", lambda: next(run.trains(require_all=True)))
"""


def suite():
    """Return a file of the calibration suite, with a dataset for every event."""
    path = CACHE / "xfelred-opening-suite.h5"
    if not path.exists():
        partial = path.with_suffix(".partial")
        synth.lcls.write_suite(partial, n_events=(2,) * 300, chunks=True)
        partial.rename(path)
    return path


def fresh(directory):
    machine()
    print(directory)
    with tempfile.TemporaryDirectory() as cache:
        for how, place in (("no cache", ""), ("to cache", cache), ("cached", cache)):
            print(how)
            env = {**os.environ, "XFELRED_CACHE_DIR": place}
            command = [sys.executable, "-c", FRESH, str(directory)]
            subprocess.run(command, env=env, check=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["long"]:
        fresh(long_run())
    elif sys.argv[1:] == ["many"]:
        fresh(many_sources())
    elif sys.argv[1:] == ["lcls"]:
        fresh(suite())
        fresh(million_rows())
    else:
        main(*map(int, sys.argv[1:]))
