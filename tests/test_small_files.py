"""Small files of users: the text, or one error, at once."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from xfelred import CubeRecipe, small_files
from xfelred.cluster.certificates import read_scheduler_file
from xfelred.errors import (
    ArgumentTypeError,
    BrokenFileError,
    ClusterError,
    ConfigError,
    InconsistentDataError,
    MissingFileError,
    NoAccessError,
    XfelredError,
)
from xfelred.geometry import Geometry
from xfelred.products.resumable import read_record
from xfelred.small_files import read_bytes, read_text

ROOT = Path(__file__).resolve().parents[1]
OF_THE_SYSTEM = {ROOT / "xfelred" / "lazy" / "free_memory.py"}  # files of the kernel
# Everything in the package that reads a small file of a user.
READERS = {
    "recipe": CubeRecipe.from_file,
    "poni": Geometry.from_poni,
    "crystfel": Geometry.from_crystfel,
    "manifest": partial(read_record, what="manifest"),
    "scheduler file": read_scheduler_file,
}


def a_pipe(path):
    os.mkfifo(path)


def a_directory(path):
    path.mkdir()


def a_loop(path):
    path.symlink_to(path)


def a_device(path):
    path.symlink_to("/dev/zero")


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def something_huge(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


def no_text(path):
    path.write_bytes(b"\xff\xfe\x00q\x89HDF" * 50)


ODD = [a_pipe, a_directory, a_loop, a_device, a_socket, something_huge, no_text]
odd = pytest.mark.parametrize("make", ODD, ids=lambda f: f.__name__)


@odd
@pytest.mark.parametrize("name", READERS)
def test_every_reader_ends_with_an_error_of_ours(tmp_path, monkeypatch, make, name):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    path = Path("odd")
    make(path)
    with pytest.raises(XfelredError, match="odd"):
        READERS[name](path)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_told_with_names_like_it(tmp_path, name):
    (tmp_path / "cube_a.yaml").write_text("")
    with pytest.raises(XfelredError, match=r"cube_b\.yaml.*cube_a\.yaml") as caught:
        READERS[name](tmp_path / "cube_b.yaml")
    if name != "scheduler file":
        assert isinstance(caught.value, FileNotFoundError)


@odd
def test_the_error_says_what_is_there(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    make(Path("odd"))
    words = {
        a_pipe: "is a pipe", a_directory: "is a directory", a_device: "is a device",
        a_socket: "is a socket", a_loop: "symbolic links", no_text: "no text in UTF-8",
        something_huge: "more than 16777216 bytes",
    }  # fmt: skip
    with pytest.raises(BrokenFileError, match=words[make]):
        read_text("odd", "recipe")


def test_a_link_is_followed_only_where_it_may_be(tmp_path):
    (tmp_path / "a").write_text("text")
    (tmp_path / "b").symlink_to("a")
    assert read_text(tmp_path / "b", "recipe") == "text"
    with pytest.raises(InconsistentDataError, match="b is a link"):
        read_text(tmp_path / "b", "state", wrong=InconsistentDataError, links=False)


def test_text_may_have_as_many_bytes_as_the_limit(tmp_path):
    path = tmp_path / "a"
    path.write_bytes("é".encode() * 500)
    assert read_text(path, "recipe", limit=1000) == "é" * 500
    with pytest.raises(BrokenFileError, match="more than 999 bytes"):
        read_text(path, "recipe", limit=999)


def test_a_file_of_a_device_that_says_to_be_empty_is_limited(tmp_path):
    # Files of the kernel have the size 0, and any number of bytes.
    assert len(read_bytes("/proc/self/status", "file")) > 100
    with pytest.raises(BrokenFileError, match="more than 10 bytes"):
        read_bytes("/proc/self/status", "file", limit=10)


@pytest.mark.parametrize("path", ["a\0b", "x" * 300, "\ud800/x"])
def test_a_name_that_no_file_can_have_is_an_error(path):
    with pytest.raises(XfelredError):
        read_text(path, "recipe")


@pytest.mark.parametrize("path", [None, 3, b"a", object()])
def test_a_path_is_text_or_a_path(path):
    with pytest.raises(ArgumentTypeError, match="the path of a recipe"):
        read_text(path, "recipe")


def test_a_file_in_what_is_no_directory_is_missing(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(MissingFileError, match="no directory"):
        read_text(tmp_path / "a" / "b.yaml", "recipe")


def test_errors_have_the_class_of_the_room(tmp_path):
    with pytest.raises(ConfigError, match="is a directory") as caught:
        CubeRecipe.from_file(tmp_path)
    assert caught.value.path == str(tmp_path)
    with pytest.raises(ClusterError, match="scheduler file"):
        read_scheduler_file(tmp_path)


AS_NOBODY = """
import os, sys
os.setgid(65534); os.setuid(65534)
from xfelred.small_files import read_text
from xfelred.errors import NoAccessError
try:
    read_text(sys.argv[1], "recipe")
except NoAccessError as error:
    assert isinstance(error, PermissionError)
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_a_file_of_somebody_else_is_an_error_that_says_so(tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "secret.yaml"
    path.write_text("a")
    path.chmod(0o600)
    code = AS_NOBODY.replace("os.setgid", "import xfelred.small_files\nos.setgid", 1)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "cannot read the recipe" in done.stdout, done.stderr
    assert NoAccessError.__name__ not in done.stderr


def test_nothing_else_in_the_package_reads_text():
    """Reading a small file another way can hang."""
    wrong = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in sorted({*(ROOT / "xfelred").rglob("*.py")} - OF_THE_SYSTEM)
        for word in (".read_text(", ".read_bytes(", "json.load(", "np.loadtxt(")
        if word in path.read_text()
    ]
    assert wrong == []
    assert small_files.FLAGS & os.O_NONBLOCK
