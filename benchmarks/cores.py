"""Where does each operation stop scaling, on machines that are not here?

    python benchmarks/cores.py [trains]

A corrected AGIPD-1M run in the page cache (16 modules, 40 trains x 8 pulses, 1.3 GB
float32). Measured for every operation, with one thread: CPU time of a pixel, and the
part of it that is not spent in functions which release the interpreter's lock (at most
that: parts of numpy release it, too). The model:

* Threads of one process queue for the lock (mean value analysis of a closed network
  with one server and a delay). A node runs processes of as many threads as still use
  two thirds of their cores, which share none; a single process ends at 1 / lock.
* Memory gives what is assumed below; a pixel moves the bytes of MOVED through it: out
  of the page cache, into a buffer and out of it again, and what the result takes.
* A node reads at most 10 GB/s through its network, all nodes together 200 GB/s.

It is checked against 1, 2 and 4 processes of one thread here, which start together:
CPU time of a pixel must stay what it is while memory is not the limit, and the clock
must show CPU time / cores.
"""

import cProfile
import json
import subprocess
import sys
import time
from pathlib import Path

import dask
from common import corrected_run, machine, read_once
from per_frame import PANELS

import xfelred as xf
from xfelred import geometry, ops

TRAINS, PULSES = 40, 8
SIZE = 4  # bytes of a pixel in the file
NODES = {16: 80.0, 64: 250.0, 192: 600.0}  # cores: GB/s of memory, assumed
NETWORK, STORE = 10.0, 200.0  # GB/s of a node, and of all
MOVED = {  # bytes of memory for a pixel, and floating point operations
    "mean": (12, 2),
    "mean, std, count": (12, 6),
    "mean of each pulse": (28, 2),
    "azimuthal, 1000 bins": (14, 4),
    "polar ring, correlated": (10, 3),
    "calibrated: (x - dark) * gain": (20, 4),
}
RELEASED = {"<built-in method posix.preadv>", "r2c", "c2r"}


def operations(frames):
    every = ("train", "pulse")
    here = geometry.locate(frames, PANELS)
    ring = {"r_min": 100, "r_max": 200, "n_phi": 1024, "unit": "pixel"}
    dark = frames[0, 0].compute()
    return {
        "mean": lambda: frames.mean(every),
        "mean, std, count": lambda: ops.statistics(frames, dim=every),
        "mean of each pulse": lambda: frames.mean("train"),
        "azimuthal, 1000 bins": lambda: ops.integrate_azimuthally(here, 1000),
        "polar ring, correlated": lambda: ops.correlate_angular(
            ops.remap_polar(here, method="nearest", **ring), reduce="mean"
        ),
        "calibrated: (x - dark) * gain": lambda: ((frames - dark) * 1.1).mean(every),
    }


def releases(place):
    """Tell whether a line of a profile is of a function without the lock."""
    file, _, name = place
    if name in RELEASED or "pypocketfft" in name or "posix.preadv" in name:
        return True
    if "/xfelred/kernels/" not in file:
        return False
    module = "xfelred" + file.split("/xfelred")[-1][:-3].replace("/", ".")
    return hasattr(getattr(sys.modules.get(module), name, None), "py_func")


def released_time(run):
    """Return the CPU seconds that a function spends without the lock."""
    profile = cProfile.Profile(time.thread_time)
    profile.runcall(run)
    profile.create_stats()
    return sum(t[2] for place, t in profile.stats.items() if releases(place))


def threads_gain(n, lock):
    """Return how many times faster n threads are that need the lock for a part."""
    queue, gain = 0.0, 0.0
    for k in range(1, n + 1):
        waits = lock * (1 + queue)
        gain = k / (waits + 1 - lock)
        queue = gain * waits
    return gain


def useful_threads(lock):
    """Return how many threads still use two thirds of their cores."""
    return max(n for n in range(1, 193) if threads_gain(n, lock) >= 0.667 * n)


def node_speed(cores, memory, each, lock, moved):
    """Return GB/s of files that a node takes, and what is in the way."""
    threads = useful_threads(lock)
    gain = cores / threads * threads_gain(threads, lock)
    limits = {"cores": gain * each, "memory": memory * SIZE / moved}
    slowest = min(limits, key=limits.get)
    return limits[slowest], slowest


def timed(lazy):
    """Return (CPU, wall) seconds of one computation with one thread."""
    with dask.config.set(scheduler="synchronous"):
        cpu, wall = time.process_time(), time.perf_counter()
        dask.compute(lazy)
        return time.process_time() - cpu, time.perf_counter() - wall


def worker(path, name):
    """Compute once when told to, a few times, in a process of its own."""
    job = operations(xf.open_run(path).frames(bad_pixels=None))[name]
    lazy = job()
    timed(lazy)
    for _ in sys.stdin:
        print(json.dumps(timed(lazy)), flush=True)


def processes(path, name, n, rounds=3):
    """Return (CPU, wall) seconds of the best round of n processes at once."""
    command = [sys.executable, __file__, "worker", str(path), name]
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, **pipe) for _ in range(n)]
    found = []
    for _ in range(rounds):
        for p in started:
            p.stdin.write("go\n")
            p.stdin.flush()
        times = [json.loads(p.stdout.readline()) for p in started]
        found.append((sum(c for c, _ in times) / n, max(w for _, w in times)))
    for p in started:
        p.stdin.close()
        p.wait()
    return min(c for c, _ in found), min(w for _, w in found)


def main(trains=TRAINS):
    machine()
    path = Path(corrected_run(trains, PULSES))
    read_once(path)
    frames = xf.open_run(path).frames(bad_pixels=None)
    gigabytes = frames.nbytes / 1e9
    pixels = frames.size
    print(f"{gigabytes:.2f} GB; ns of CPU time for a pixel, with one thread")
    head = "".join(f"{f'{c} cores':>16}" for c in NODES)
    print(
        f"{'operation':<31}{'ns':>6}{'flop':>5}{'lock':>6}{'GB/s':>6}"
        f"{'threads':>8}{'1 process':>11}{head}{'50 nodes of 64':>18}"
    )
    cost = {}
    for name, job in operations(frames).items():
        lazy = job()
        timed(lazy)
        cpu = min(timed(lazy)[0] for _ in range(3))
        with dask.config.set(scheduler="synchronous"):
            free = released_time(lambda lazy=lazy: dask.compute(lazy))
        lock = max(0.01, 1 - free / cpu)
        cost[name] = cpu
        each, (moved, flops) = gigabytes / cpu, MOVED[name]
        row = f"{name:<31}{cpu / pixels * 1e9:>6.2f}{flops:>5}{lock:>6.0%}{each:>6.2f}"
        row += f"{useful_threads(lock):>8}{each / lock:>11.1f}"
        for cores, memory in NODES.items():
            speed, limit = node_speed(cores, memory, each, lock, moved)
            row += f"{f'{speed:.0f} ({limit})':>16}"
        speed = min(node_speed(64, NODES[64], each, lock, moved)[0], NETWORK) * 50
        row += f"{f'{min(speed, STORE):.0f} (' + limit_of(speed) + ')':>18}"
        print(row, flush=True)
    print("\nchecked: CPU and wall seconds of 1, 2 and 4 processes of one thread")
    for name in ("mean", "mean, std, count", "azimuthal, 1000 bins"):
        row = f"{name:<31}"
        for n in (1, 2, 4):
            cpu, wall = processes(path, name, n)
            row += f"  {n}: {cpu:.2f} ({cpu / cost[name]:.2f}) {wall:.2f} s"
        print(row, flush=True)


def limit_of(speed):
    if speed > STORE:
        return "store"
    return "network" if speed >= NETWORK * 50 else "nodes"


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(*sys.argv[2:])
    else:
        main(*map(int, sys.argv[1:]))
