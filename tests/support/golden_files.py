"""Where results of other programs are: small ones here, all beside the checkout."""

from dataclasses import dataclass
from pathlib import Path

import pytest

COPIES = Path(__file__).resolve().parents[1] / "golden" / "data"
SHARED = Path(__file__).resolve().parents[3] / "shared" / "golden"


@dataclass(frozen=True)
class Golden:
    """One folder of golden files: ``Golden("sacla") / "misc.npz"`` is a path.

    A test whose file is in neither place is skipped.
    """

    folder: str

    def __truediv__(self, name):
        for root in (COPIES, SHARED):
            path = root / self.folder / name
            if path.exists():
                return path
        pytest.skip(f"no golden file {self.folder}/{name}")
