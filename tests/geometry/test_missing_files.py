"""Geometry files that are not there, are something else, or must not be read."""

import os
import subprocess
import sys

import pytest

from xfelred.errors import BrokenFileError, MissingFileError, NoAccessError, OutputError
from xfelred.geometry import Geometry

READERS = [Geometry.from_poni, Geometry.from_crystfel]
NOBODY = 65534
each_reader = pytest.mark.parametrize("read", READERS, ids=lambda f: f.__name__)


@each_reader
def test_a_missing_file_tells_what_lies_beside_it(read, tmp_path):
    (tmp_path / "agipd_v3.geom").touch()
    with pytest.raises(
        FileNotFoundError, match=r"agipd_v4\.geom; next.*agipd_v3\.geom"
    ):
        read(tmp_path / "agipd_v4.geom")
    with pytest.raises(MissingFileError, match=f"no directory {tmp_path}/r0034"):
        read(tmp_path / "r0034" / "a.geom")


@each_reader
def test_what_is_no_file_is_told_at_once(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path, "a directory"), (tmp_path / "pipe", "a pipe")):
        with pytest.raises(BrokenFileError, match=what):
            read(path)
    for path in ("z" * 5000, "a\0b"):
        with pytest.raises(OSError, match="cannot read") as found:
            read(path)
        assert len(str(found.value)) <= 1500


LOCKED = """
import os, sys
from xfelred.errors import NoAccessError
from xfelred.geometry import Geometry
if os.getuid() == 0:
    os.setgid({nobody}); os.setuid({nobody})
for read in (Geometry.from_poni, Geometry.from_crystfel):
    try:
        read(sys.argv[1])
    except NoAccessError as error:
        print(isinstance(error, PermissionError), error)
"""


def test_a_file_of_somebody_else_is_one_clear_error(tmp_path):
    path = tmp_path / "locked.geom"
    path.touch()
    path.chmod(0)
    # The directories of pytest belong to one user.
    for place in tmp_path.parents[:2]:
        place.chmod(0o755)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", LOCKED.format(nobody=NOBODY), str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(READERS)
    assert all(line.startswith("True") and "locked.geom" in line for line in lines)
    assert issubclass(NoAccessError, PermissionError)


def test_a_geometry_that_cannot_be_written_is_an_error_of_ours(tmp_path):
    flat = Geometry.flat(
        (4, 6), centre=(0, 0), distance=0.1, pixel_size=1e-4, energy=9e3
    )
    for path in (tmp_path / "absent" / "a.geom", "z" * 5000):
        with pytest.raises(OutputError, match="cannot write to path="):
            flat.to_crystfel(path)
