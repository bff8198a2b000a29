"""What a name in a file stands for: nothing, something, or what cannot be read."""

import os
import pickle
import signal
import socket
from contextlib import contextmanager

import h5py
import numpy as np
import pytest

import xfelred.hdf5.links
from xfelred.errors import BrokenFileError, MissingFileError, MissingPartError
from xfelred.hdf5 import Dataset, Group, Unreadable, open_dataset, open_file


@pytest.fixture
def path(tmp_path):
    where = tmp_path / "a.h5"
    with h5py.File(where, "w") as f:
        f["group/numbers"] = np.arange(5)
        f["group/text"] = ["ä", "b"]
        f["group"].attrs["unit"] = "mm"
        f["deep/er/most"] = 7.5
    return str(where)


@contextmanager
def seconds(limit):
    """Fail rather than wait for ever."""

    def late(number, frame):
        raise AssertionError("it hangs")

    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


def change(path, make):
    with h5py.File(path, "r+") as f:
        make(f)


def spoil_header(path, name):
    with h5py.File(path, "r") as f:
        at = h5py.h5o.get_info(f[name].id).addr
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(b"\xee")


def test_names_stand_for_what_h5py_finds(path):
    with open_file(path) as root:
        assert isinstance(root["group"], Group)
        numbers = root["group/numbers"]
        assert isinstance(numbers, Dataset)
        np.testing.assert_array_equal(numbers[1:4], [1, 2, 3])
        assert (numbers.shape, numbers.dtype) == ((5,), np.int64)
        assert root["group"].get("numbers")[2] == 2
        assert root["group/text"].text().tolist() == ["ä", "b"]
        assert root["deep/er/most"][()] == 7.5
        assert root["group"].attrs == {"unit": "mm"}
        assert list(root) == ["deep", "group"]
        assert "deep/er" in root
        assert "deep/er/mos" not in root
        found = {name: item.shape for name, item in root.walk()}
        assert found == {"deep/er/most": (), "group/numbers": (5,), "group/text": (2,)}


def test_what_is_not_there_is_none_and_what_is_damaged_an_error(path):
    spoil_header(path, "group/numbers")
    with open_file(path) as root:
        assert root.get("nothing") is None
        assert root.get("group/nothing") is None
        with pytest.raises(BrokenFileError, match="group/numbers"):
            root.get("group/numbers/below")
        with pytest.raises(BrokenFileError, match=r"group/numbers in .*a\.h5"):
            root.get("group/numbers")
        found = dict(root["group"].children())
        assert isinstance(found["numbers"], Unreadable)
        assert isinstance(found["text"], Dataset)
        assert [n for n, i in root.walk() if isinstance(i, Unreadable)] == [
            "group/numbers"
        ]
        with pytest.warns(UserWarning, match="1 objects in group of .*numbers"):
            assert [name for name, _ in root["group"].readable()] == ["text"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x"), KeyError("x"), OSError("x"), MemoryError(), SystemError("x"),
        ValueError("x"), TypeError("x"), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"),
    ],
    ids=lambda e: type(e).__name__,
)  # fmt: skip
def test_whatever_hdf5_raises_is_one_error(path, error, monkeypatch):
    def fail(*args):
        raise error

    monkeypatch.setattr(xfelred.hdf5.links.h5o, "open", fail)
    with (
        open_file(path) as root,
        pytest.raises(BrokenFileError, match=r"group in .*a\.h5"),
    ):
        root.get("group")


LINKS = {
    "dangling": (h5py.SoftLink("/nowhere"), "leads to /nowhere"),
    "itself": (h5py.SoftLink("/link"), "circle"),
    "each other": (h5py.SoftLink("/other"), "circle"),
    "no file": (h5py.ExternalLink("gone.h5", "/x"), "missing"),
    "a pipe": (h5py.ExternalLink("pipe.h5", "/x"), "a pipe"),
    "a device": (h5py.ExternalLink("/dev/zero", "/x"), "a device"),
    "no HDF5": (h5py.ExternalLink("/etc/passwd", "/x"), "passwd"),
    "itself outside": (h5py.ExternalLink("a.h5", "/link"), "circle"),
    "nothing there": (h5py.ExternalLink("a.h5", "/nowhere"), "nowhere"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_that_leads_nowhere_is_an_error_that_names_it(path, name):
    link, words = LINKS[name]
    os.mkfifo(os.path.join(os.path.dirname(path), "pipe.h5"))

    def make(f):
        f["link"] = link
        f["other"] = h5py.SoftLink("/link")

    change(path, make)
    with (
        seconds(20),
        open_file(path) as root,
        pytest.raises(BrokenFileError, match=words) as caught,
    ):
        root.get("link")
    assert isinstance(caught.value, MissingPartError) == (name == "no file")


def test_links_that_lead_somewhere_are_followed(path, tmp_path):
    def make(f):
        f["soft"] = h5py.SoftLink("/group")
        f["group/beside"] = h5py.SoftLink("numbers")
        f["outside"] = h5py.ExternalLink("b.h5", "/x")

    change(path, make)
    with h5py.File(tmp_path / "b.h5", "w") as f:
        f["x"] = [3, 4]
    with open_file(path) as root:
        assert root["soft/numbers"].shape == (5,)
        assert root["soft/beside"][4] == 4
        assert root["outside"][:].tolist() == [3, 4]
        assert root.soft_link("soft") == "/group"
        assert root.soft_link("group") is None
        assert root["soft"].own
        assert [name for name, _ in root.walk()].count("group/numbers") == 1


def test_a_group_that_holds_itself_is_walked_once(path):
    change(path, lambda f: f["deep"].__setitem__("again", f["/"]))
    with open_file(path) as root:
        names = [name for name, _ in root.walk()]
    assert sorted(n.rpartition("/")[2] for n in names) == ["most", "numbers", "text"]


def circle(f, name, source, shape=(5,), maxshape=None):
    layout = h5py.VirtualLayout(shape, "i8", maxshape=maxshape)
    layout[...] = h5py.VirtualSource(source[0], source[1], shape)
    f.create_virtual_dataset(name, layout)


def test_virtual_datasets_of_themselves_are_refused(path):
    def make(f):
        circle(f, "me", (".", "/me"))
        circle(f, "named", (f.filename, "named"))
        circle(f, "a", (".", "b"))
        circle(f, "b", (".", "a"))
        f["alias"] = h5py.SoftLink("/c")
        circle(f, "c", (".", "/alias"))

    change(path, make)
    with open_file(path) as root:
        for name in ("me", "named", "a", "b", "c"):
            with pytest.raises(BrokenFileError, match="circle"):
                root[name][()]
    for name in ("me", "a"):
        with pytest.raises(BrokenFileError, match="circle"):
            open_dataset(path, name)[:]


def test_a_pipe_behind_a_virtual_or_external_dataset_does_not_block(path, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipe = str(tmp_path / "pipe")

    def make(f):
        circle(f, "virtual", (pipe, "x"))
        f.create_dataset("raw", (5,), "i8", external=[(pipe, 0, 40)])

    change(path, make)
    with seconds(20), open_file(path) as root:
        for name in ("virtual", "raw"):
            with pytest.raises(BrokenFileError, match="a pipe"):
                root[name][()]


def test_metadata_of_absurd_size_is_refused_before_memory_is_taken(path):
    def make(f):
        f.create_dataset("list", (10**12,), "u8", chunks=(1024,))
        f.create_dataset("table", (1, 10**6, 10**6), "f4", chunks=(1, 64, 64))
        f.create_dataset("text", (10**12,), h5py.string_dtype(), chunks=(1024,))

    change(path, make)
    with open_file(path) as root:
        for name in ("list", "table", "text"):
            with pytest.raises(BrokenFileError, match=f"{name} in .* claims"):
                root[name][()]
        assert root["list"][:3].tolist() == [0, 0, 0]
        with pytest.raises(BrokenFileError, match="claims"):
            root["list"][::2]


def test_a_named_type_is_neither_group_nor_dataset(path):
    change(path, lambda f: f.__setitem__("type", np.dtype("f4")))
    with (
        open_file(path) as root,
        pytest.raises(BrokenFileError, match="neither a group nor a dataset"),
    ):
        root.get("type")


def test_a_dataset_without_dataspace_has_no_entries(path):
    change(path, lambda f: f.__setitem__("null", h5py.Empty("f4")))
    with open_file(path) as root:
        assert root["null"].shape == (0,)
        assert root["null"][()].tolist() == []


def test_text_and_names_that_are_no_utf8(path):
    def make(f):
        f["text"] = np.array([b"\xff\x00x"], "S3")
        f[b"\xffname"] = 1
        f.attrs["fine"] = 1
        f.attrs["alias"] = f.ref

    change(path, make)
    with open_file(path) as root:
        assert root["text"].text(0) == "\ufffd\x00x"
        assert os.fsdecode(b"\xffname") in list(root)
        assert root[os.fsdecode(b"\xffname")][()] == 1
        assert root.attrs["fine"] == 1


@pytest.mark.parametrize("kind", ["pipe", "socket", "directory", "device", "link"])
def test_only_regular_files_are_opened(kind, tmp_path, monkeypatch):
    where = tmp_path / "x.h5"
    monkeypatch.chdir(tmp_path)  # the names of sockets are short
    if kind == "pipe":
        os.mkfifo(where)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as one:
            one.bind("x.h5")
    elif kind == "directory":
        where.mkdir()
    else:
        where.symlink_to("/dev/zero" if kind == "device" else "gone")
    expected = MissingFileError if kind == "link" else BrokenFileError
    with (
        seconds(20),
        pytest.raises(expected, match=r"x\.h5") as caught,
        open_file(str(where)),
    ):
        pass
    assert kind in str(caught.value)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), expected)
    with seconds(20), pytest.raises(BrokenFileError, match=r"x\.h5"):
        open_dataset(str(where), "x")


def test_files_beside_the_real_file_are_found_through_a_link_to_it(tmp_path):
    (tmp_path / "real").mkdir()
    with h5py.File(tmp_path / "real" / "b.h5", "w") as f:
        f["x"] = [3, 4]
    layout = h5py.VirtualLayout((2,), "i8")
    layout[...] = h5py.VirtualSource("b.h5", "x", (2,))
    with h5py.File(tmp_path / "real" / "a.h5", "w") as f:
        f["outside"] = h5py.ExternalLink("b.h5", "/x")
        f.create_virtual_dataset("virtual", layout)
    (tmp_path / "a.h5").symlink_to(tmp_path / "real" / "a.h5")
    with open_file(str(tmp_path / "a.h5")) as root, h5py.File(tmp_path / "a.h5") as f:
        for name in ("outside", "virtual"):
            assert root[name][:].tolist() == f[name][:].tolist() == [3, 4]
    assert open_dataset(str(tmp_path / "a.h5"), "outside")[:].tolist() == [3, 4]


def test_an_attribute_that_cannot_be_read_is_named(path, monkeypatch):
    def fail(self, name):
        raise OSError("damaged")

    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", fail)
    with (
        open_file(path) as root,
        pytest.warns(UserWarning, match=r"attributes of group in .*a\.h5 .*: unit"),
    ):
        assert root["group"].attrs == {}
