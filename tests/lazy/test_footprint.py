import json
import os
import subprocess
import sys
from pathlib import Path

import peaks
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"
)
@pytest.mark.parametrize("case", peaks.CASES)
def test_estimated_peak_is_near_the_measured_one(case):
    done = subprocess.run(
        [sys.executable, peaks.__file__, case],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ratio = found["peak_memory_per_worker"] / found["peak"]
    # Whether two threads hold whole blocks at once is chance; streams hold little.
    most = 2 if case == "user's arithmetic" else 1.5
    assert 1 / 1.5 < ratio < most, found
