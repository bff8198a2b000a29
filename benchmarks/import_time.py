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
# `import xfelred` postpones the import of its parts: the last row uses all of them.
STATEMENTS = {
    "xarray": "import xarray",
    "xfelred": "import xfelred",
    "xfelred, all": "import xfelred; [getattr(xfelred, n) for n in xfelred.__all__]",
}
CODE = """
import time
start = time.perf_counter()
{statement}
print(time.perf_counter() - start)
"""


def seconds(statement: str) -> float:
    """Return the time of a statement in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(statement=statement)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def main() -> None:
    """Measure and print the table."""
    rounds = [
        {name: seconds(statement) for name, statement in STATEMENTS.items()}
        for _ in range(REPEATS + 1)
    ][1:]
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"{today}, {platform.machine()}, Python {platform.python_version()}")
    print(f"{REPEATS} imports of each, interleaved; ratio: median of the rounds")
    print(f"{'import':14}{'median s':>10}{'min s':>10}{'max s':>10}{'ratio':>10}")
    for name in STATEMENTS:
        times = [r[name] for r in rounds]
        ratio = statistics.median(r[name] / r["xarray"] for r in rounds)
        row = (statistics.median(times), min(times), max(times), ratio)
        print(f"{name:14}" + "".join(f"{value:10.3f}" for value in row))


if __name__ == "__main__":
    main()
