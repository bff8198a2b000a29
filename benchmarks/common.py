"""What the benchmark scripts share: a simulated run, medians, peak memory, a table."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# These scripts are found last: one of them has the name of a library.
sys.path.append(sys.path.pop(0))
CACHE = Path(os.environ.get("XFELRED_BENCHMARK_DIR", tempfile.gettempdir()))


def corrected_run(n_trains=80, pulses=8, name="agipd", compression="facility"):
    """Return the directory of a corrected AGIPD-1M run, written once."""
    from xfelred import synth

    path = CACHE / f"xfelred-{name}-{n_trains}x{pulses}"
    if not path.exists():
        partial = path.with_suffix(".partial")
        synth.euxfel.write_run(
            partial,
            n_trains=n_trains,
            pulses=pulses,
            corrected=True,
            image_only=True,
            xgm=False,
            motors=False,
            compression=compression,
        )
        partial.rename(path)
    return path


def read_once(directory):
    """Bring all files of a directory into the page cache."""
    for file in sorted(Path(directory).glob("*.h5")):
        with open(file, "rb") as f:
            while f.read(16 << 20):
                pass


def read_bytes(directory, n_threads, size=1 << 20):
    """Read all files of a directory into buffers that are used again: the floor."""
    files = [os.open(f, os.O_RDONLY) for f in sorted(Path(directory).glob("*.h5"))]

    def read(thread):
        buffer = memoryview(bytearray(size))
        for file in files[thread::n_threads]:
            offset = 0
            while n := os.preadv(file, [buffer], offset):
                offset += n

    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(read, range(n_threads)))
    for file in files:
        os.close(file)


def median_times(variants, repeats=5):
    """Time functions in turn, several rounds; return {name: (median, cpu / wall)}."""
    walls = {name: [] for name in variants}
    cpus = {name: [] for name in variants}
    for _ in range(repeats):
        for name, function in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            walls[name].append(time.perf_counter() - wall)
            cpus[name].append(time.process_time() - cpu)
    return {
        n: (statistics.median(w), statistics.median(cpus[n]) / statistics.median(w))
        for n, w in walls.items()
    }


def table(times, baseline, unit=1.0, label="s"):
    """Print one row for each variant, with its ratio to the baseline."""
    base = times[baseline][0]
    print(f"{'variant':<52}{label:>9}{'ratio':>8}{'cpu/wall':>10}")
    for name, (wall, load) in times.items():
        print(f"{name:<52}{wall * unit:>9.3f}{wall / base:>8.2f}{load:>10.2f}")


def peak_memory(code, *arguments):
    """Run code in a new process; return its peak resident memory in MB."""
    # Not getrusage: its maximum counts the parent's memory before exec.
    tail = (
        "\nprint('PEAK', next(line.split()[1] for line in open('/proc/self/status')"
        " if line.startswith('VmHWM')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code + tail, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split("PEAK")[1]) / 1024


def machine():
    """Print where and when this was measured."""
    load = os.getloadavg()[0]
    print(
        f"{time.strftime('%Y-%m-%d')}, Python {platform.python_version()},"
        f" {os.cpu_count()} cores, load {load:.1f}"
    )
