"""How long does a user wait for the first result of a new process?

    python benchmarks/first_use.py [task ...]

Each task of `xfelred warm-up`, in processes of their own: with an empty cache of
compiled kernels, with that cache, and once more in the same process. Import is the time
of `import xfelred` with everything that the task needs. Runs of the tasks are tiny, so
that nothing but the first use is measured.
"""

import os
import subprocess
import sys
import tempfile

from common import machine

CODE = """
import sys, time
start = time.perf_counter()
from xfelred.cluster import warm_up
took = [time.perf_counter() - start]
for _ in range(2):
    (done,) = warm_up.warm_up([sys.argv[1]], processes=0)
    took += [done.seconds, done.compiled]
print(*took)
"""


def measured(name, cache):
    """Return seconds of import, first and second use, and what the first compiled."""
    found = subprocess.run(
        [sys.executable, "-c", CODE, name],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    opening, first, compiled, second, _ = map(float, found.stdout.split())
    return opening, first, int(compiled), second


def main():
    from xfelred.cluster.warm_up import TASKS

    machine()
    print(
        f"{'task':<14}{'import':>8}{'cold':>8}{'compiled':>10}{'warm':>8}{'again':>8}"
    )
    with tempfile.TemporaryDirectory() as cache:
        measured("mean", cache)  # the files of the package into the page cache
        for name in sys.argv[1:] or TASKS:
            with tempfile.TemporaryDirectory() as empty:
                _, cold, compiled, _ = measured(name, empty)
                opening, warm, again, second = measured(name, empty)
            assert not again, f"{name} compiles again"
            print(
                f"{name:<14}{opening:>8.2f}{cold:>8.2f}{compiled:>10}{warm:>8.2f}"
                f"{second:>8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
