import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xfelred import errors
from xfelred.errors import (
    ArgumentError,
    MissingFileError,
    NotAFileError,
    UnreadableFileError,
    XfelredError,
    missing_file,
    must_be_one_of,
    shown,
)

CLASSES = sorted(
    (
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, XfelredError)
    ),
    key=lambda one: one.__name__,
)
NOBODY = 65534


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_travels_between_processes_with_its_text(kind):
    error = kind("the text")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == "the text"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_is_of_the_kind_of_a_builtin(kind):
    builtins = [b for b in kind.__mro__ if b.__module__ == "builtins"]
    assert kind is XfelredError or builtins[0] is not Exception


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("mean", "'mean'"),
        ("x" * 10**6, f"'{'x' * 40}'... (1000000 characters)"),
        (np.zeros((3, 4)), "ndarray of shape (3, 4)"),
        (xr.DataArray(np.zeros(3), dims="b"), "DataArray with dims (b: 3)"),
        (xr.Dataset({"a": ("b", [1, 2])}), "Dataset with dims (b: 2)"),
        ([1, 2.5, None], "[1, 2.5, None]"),
        ((1,), "(1)"),
        (list(range(100_000)), "list of 100000 entries"),
        ([np.zeros(3)], "[ndarray of shape (3,)]"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.5"),
        (float("nan"), "nan"),
        (1 << 20_000, "an integer of 20001 bits"),
        (object(), "object"),
        (int, "the class int"),
    ],
    ids=lambda it: it if isinstance(it, str) and len(it) < 40 else type(it).__name__,
)  # fmt: skip
def test_a_value_is_shown_short(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("given", "known"),
    [("a", "ab"), (np.str_("a"), "ab"), (None, ("a", None)), (np.int64(4), (0, 4, 8))],
)
def test_one_of_the_known_values_is_taken(given, known):
    must_be_one_of("how", given, known)


@pytest.mark.parametrize(
    "given", [True, [1], np.ones(2), "x" * 10**6, object(), None, float("nan"), {}]
)
def test_another_value_is_refused_with_the_choices(given):
    with pytest.raises(ArgumentError, match=r"^how=.* must be one of 1, 'b'") as found:
        must_be_one_of("how", given, (1, "b"))
    assert len(str(found.value)) < 200


def test_the_nearest_word_is_proposed():
    with pytest.raises(ValueError, match=r"'sum', 'mean'. Did you mean 'mean'\?"):
        must_be_one_of("how", "maen", ("sum", "mean"))


def test_a_missing_file_tells_what_lies_beside_it(tmp_path):
    for name in ("agipd_v3.geom", "jungfrau.geom"):
        (tmp_path / name).touch()
    error = missing_file(tmp_path / "agipd_v4.geom", "geometry file")
    assert isinstance(error, MissingFileError)
    assert (
        str(error)
        == (
            f"no geometry file at '{tmp_path}/agipd_v4.geom': {tmp_path} holds no"
            " 'agipd_v4.geom', but 'agipd_v3.geom'"
        )
        or len(str(tmp_path)) > 60
    )


def test_a_path_that_ends_early_tells_where(tmp_path):
    (tmp_path / "r0034").mkdir()
    error = missing_file(tmp_path / "r0035" / "a" / "b.poni", "PONI file")
    assert isinstance(error, FileNotFoundError)
    assert f"exists as far as {tmp_path}" in str(error)
    assert "'r0034'" in str(error)


def test_a_directory_full_of_names_is_not_printed(tmp_path):
    for n in range(300):
        (tmp_path / f"file{n}").touch()
    text = str(missing_file(tmp_path / "zzz", "mask"))
    assert "294 more" in text
    assert len(text) < 600


def test_a_directory_is_no_file(tmp_path):
    error = missing_file(tmp_path, "PONI file")
    assert isinstance(error, NotAFileError)
    assert isinstance(error, IsADirectoryError)
    assert "is a directory" in str(error)


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000])
def test_what_cannot_be_a_path_is_missing(path):
    error = missing_file(path, "PONI file")
    assert isinstance(error, MissingFileError)
    assert len(str(error)) < 600


CLOSED = """
import os, sys
from xfelred.errors import missing_file
if os.getuid() == 0:
    os.setgid({nobody}); os.setuid({nobody})
for path in sys.argv[1:]:
    error = missing_file(path, "mask")
    print(type(error).__name__, error)
"""


def test_what_another_user_closed_is_unreadable(tmp_path):
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.getuid() and place.is_relative_to("/tmp"):
            place.chmod(0o755) if place != Path("/tmp") else None
    closed, locked = tmp_path / "closed", tmp_path / "locked.npy"
    closed.mkdir()
    locked.touch(0)
    closed.chmod(0)
    wanted = [str(closed / "a.npy"), str(locked), str(closed)]
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CLOSED.format(nobody=NOBODY), *wanted],
        capture_output=True,
        text=True,
        env=env,
        check=True,
        timeout=60,
    )
    closed.chmod(0o755)
    first, second, third = done.stdout.splitlines()
    assert first.startswith(UnreadableFileError.__name__)
    assert f"may not read the directory {closed}" in first
    assert second.startswith(UnreadableFileError.__name__)
    assert "permission" in second
    assert third.startswith(NotAFileError.__name__)
