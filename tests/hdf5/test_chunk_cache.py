"""The index of chunks is kept for the next session, and never trusted."""

import os
import stat

import h5py
import numpy as np
import pytest

from xfelred.hdf5 import chunk_index as hdf5_cache
from xfelred.hdf5 import chunk_index as hdf5_index
from xfelred.hdf5 import rows as hdf5
from xfelred.hdf5.handles import OpenFiles
from xfelred.lazy import Rows

N = 1200
VALUES = np.arange(N * 4, dtype="f4").reshape(N, 4)


def read(path):
    """Read all with fresh handles, as a new session does."""
    files = hdf5.OPEN_FILES = OpenFiles(3)
    out = np.full((N, 4), -1, "f4")
    rows = Rows(np.array([0]), np.array([N]), np.array([0]))
    hdf5.read_rows(path, "x", rows, (slice(0, 4, 1),), out)
    return out, files.target(path, "x")[1].layout.index.made


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "OPEN_FILES", OpenFiles(3))
    made = str(tmp_path / "a.h5")
    with h5py.File(made, "w") as f:
        f.create_dataset("x", data=VALUES, chunks=(1, 4), compression="gzip")
    return made


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def built(monkeypatch):
    """How often HDF5 was asked for all chunks."""
    calls = []
    real = hdf5_index.ask_all

    def ask_all(*args):
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(hdf5_index, "ask_all", ask_all)
    return calls


def kept(cache):
    return sorted((cache / "chunks").iterdir())


def test_nothing_is_kept_unless_asked_for(path, built, tmp_path, monkeypatch):
    monkeypatch.delenv("XFELRED_CACHE_DIR", raising=False)
    before = sorted(tmp_path.iterdir())
    read(path)
    read(path)
    assert sorted(tmp_path.iterdir()) == before
    assert len(built) == 2


def test_index_is_built_once(path, cache, built):
    for _ in range(3):
        out, _ = read(path)
        np.testing.assert_array_equal(out, VALUES)
    assert len(built) == 1
    (file,) = kept(cache)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert file.read_bytes()[:2] not in (b"\x80\x04", b"\x80\x05", b"PK")


def test_small_index_is_not_kept(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hdf5, "OPEN_FILES", OpenFiles(3))
    path = str(tmp_path / "small.h5")
    with h5py.File(path, "w") as f:
        f.create_dataset("x", data=VALUES, chunks=(2, 4), compression="gzip")
    read(path)
    assert not cache.exists()


def test_changed_file_has_an_index_of_its_own(path, cache, built):
    read(path)
    with h5py.File(path + ".new", "w") as f:
        f["pad"] = np.zeros(1000)
        f.create_dataset("x", data=VALUES + 1, chunks=(1, 4), compression="gzip")
    os.replace(path + ".new", path)
    out, _ = read(path)
    np.testing.assert_array_equal(out, VALUES + 1)
    assert len(built) == 2
    assert len(kept(cache)) == 2


def test_chunks_never_written_and_skipped_filters_are_kept(path, cache, built):
    with h5py.File(path, "w") as f:
        d = f.create_dataset(
            "x", VALUES.shape, "f4", chunks=(1, 4), compression="gzip", fillvalue=7
        )
        d[10:1100] = VALUES[10:1100]
        d.id.write_direct_chunk((20, 0), VALUES[20].tobytes(), 1)
    want = np.full_like(VALUES, 7)
    want[10:1100] = VALUES[10:1100]
    for _ in range(2):
        out, index = read(path)
        np.testing.assert_array_equal(out, want)
        assert index.mask[20] == 1
    assert len(built) == 1


def forge(path, file, change):
    """Write a cache file that is right in all but what `change` does to the arrays."""
    index = hdf5.OPEN_FILES.target(path, "x")[1].layout.index
    table = index.made
    arrays = np.stack([table.offset, table.size, np.zeros_like(table.offset)])
    change(arrays)
    hdf5_cache.save_arrays(index.key(), arrays)
    assert file.exists()


def outside(arrays):
    arrays[0, 5] = 1 << 40


def overflowing(arrays):
    arrays[0, 5], arrays[1, 5] = (1 << 63) - 5, 100


def huge(arrays):
    arrays[1, 5] = 1 << 62


def negative(arrays):
    arrays[1, 5] = -3


def overlapping(arrays):
    arrays[0, 5] = arrays[0, 6] + 1


def swapped_first(arrays):
    arrays[:, [0, 7]] = arrays[:, [7, 0]]


def one_less(arrays):
    arrays[:2, 9] = -1, 0


def unknown_mask(arrays):
    arrays[2, 3] = 8


@pytest.mark.parametrize(
    "change",
    [
        outside, overflowing, huge, negative, overlapping, swapped_first, one_less,
        unknown_mask,
    ],
)  # fmt: skip
def test_wrong_ranges_are_ignored(path, cache, built, change):
    read(path)
    (file,) = kept(cache)
    forge(path, file, change)
    out, _ = read(path)
    np.testing.assert_array_equal(out, VALUES)
    assert len(built) == 2
    read(path)  # it has been written anew
    assert len(built) == 2


DAMAGE = {
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-8]),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "one bit": lambda file: file.write_bytes(
        file.read_bytes()[:500] + bytes([file.read_bytes()[500] ^ 1])
        + file.read_bytes()[501:]
    ),
    "a pickle": lambda file: file.write_bytes(
        b"cos\nsystem\n(S'touch hacked'\ntR.".ljust(file.stat().st_size)
    ),
    "writable by others": lambda file: file.chmod(0o666),
    "writable by the group": lambda file: file.chmod(0o620),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_wrong_files_are_ignored(path, cache, built, damage):
    read(path)
    (file,) = kept(cache)
    DAMAGE[damage](file)
    out, _ = read(path)
    np.testing.assert_array_equal(out, VALUES)
    assert len(built) == 2
    assert not os.path.exists("hacked")


def test_link_pipe_and_folder_in_place_of_a_file(path, cache, built, tmp_path):
    read(path)
    (file,) = kept(cache)
    content = file.read_bytes()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(content)
    elsewhere.chmod(0o600)
    for make in (
        lambda: file.symlink_to(elsewhere),
        lambda: os.mkfifo(file, 0o600),
        lambda: file.mkdir(mode=0o700),
    ):
        file.unlink()
        make()
        n = len(built)
        out, _ = read(path)
        np.testing.assert_array_equal(out, VALUES)
        assert len(built) == n + 1
    assert elsewhere.read_bytes() == content


def test_file_of_another_user_is_ignored(path, cache, built, monkeypatch):
    read(path)
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    read(path)
    assert len(built) == 2


def test_index_of_another_file_under_this_name_is_ignored(path, cache, built, tmp_path):
    other = str(tmp_path / "b.h5")
    with h5py.File(other, "w") as f:
        f.create_dataset("x", data=VALUES + 1, chunks=(1, 4), compression="gzip")
    read(path)
    (mine,) = kept(cache)
    read(other)
    (theirs,) = {*kept(cache)} - {mine}
    os.replace(theirs, mine)
    out, _ = read(path)
    np.testing.assert_array_equal(out, VALUES)
    assert len(built) == 3


def unwritable(cache, monkeypatch):
    cache.write_text("a file where a folder should be")


def open_to_others(cache, monkeypatch):
    (cache / "chunks").mkdir(parents=True)
    (cache / "chunks").chmod(0o777)


def linked(cache, monkeypatch):
    cache.mkdir()
    (cache.parent / "target").mkdir(mode=0o700)
    (cache / "chunks").symlink_to(cache.parent / "target")


def full(cache, monkeypatch):
    def no_room(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_room)


@pytest.mark.parametrize("trouble", [unwritable, open_to_others, linked, full])
def test_cache_that_cannot_be_used_is_no_error(
    path, cache, built, trouble, monkeypatch
):
    trouble(cache, monkeypatch)
    for n in (1, 2):
        out, _ = read(path)
        np.testing.assert_array_equal(out, VALUES)
        assert len(built) == n
    if cache.is_dir():
        assert list((cache / "chunks").iterdir()) == []
