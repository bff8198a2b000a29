"""How long does `import xfelred` take, compared with `import xarray`?

Seven fresh interpreters for each, in turns, so that a busy moment of the machine hits
all of them; the first round only fills the file cache and is not counted.
"""

import datetime
import platform
import statistics
import subprocess
import sys

REPEATS = 7
MODULES = ("xarray", "xfelred")
CODE = """
import time
start = time.perf_counter()
import {module}
print(time.perf_counter() - start)
"""


def seconds(module: str) -> float:
    """Return the time of one import in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(module=module)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print the table."""
    rounds = [{m: seconds(m) for m in MODULES} for _ in range(REPEATS + 1)][1:]
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"{today}, {platform.machine()}, Python {platform.python_version()}")
    print(f"median, fastest and slowest of {REPEATS} imports, interleaved")
    print(f"{'module':10}{'median s':>10}{'min s':>10}{'max s':>10}")
    for module in MODULES:
        times = [r[module] for r in rounds]
        row = (statistics.median(times), min(times), max(times))
        print(f"{module:10}" + "".join(f"{t:10.3f}" for t in row))
    ratio = statistics.median(r["xfelred"] / r["xarray"] for r in rounds)
    print(f"xfelred / xarray: {ratio:.2f}")


if __name__ == "__main__":
    main()
