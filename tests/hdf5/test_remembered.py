"""What files say is kept for the next session, and never trusted."""

import os
import shutil
import stat

import h5py
import numpy as np
import pytest

from xfelred.errors import warn
from xfelred.hdf5 import handles
from xfelred.hdf5 import remembered as kept
from xfelred.hdf5.cache_files import save_bytes

FACTS = {
    "text": "Käse \udcff",
    "none": None,
    "yes": True,
    "list": [1, "a", [2, None]],
    "by name": {"": [1], "b": {}},
    "ids": np.arange(10**9, 10**9 + 1000, dtype=np.uint64),
    "flags": np.repeat([True, False, True], [30, 1, 500]),
    "random": np.random.default_rng(1).integers(-9, 9, 77).astype(np.int16),
    "few": np.array([3, 2**63 - 1]),
    "no": np.zeros(0, np.int64),
    "real": np.array([0.5, np.nan]),
}


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "a.h5"
    made.write_bytes(np.random.default_rng(0).bytes(20_000))
    age(made)
    return str(made)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(folder))
    return folder


def age(path, seconds=1000):
    """Give a file an older time of change: what was just written is not kept."""
    old = os.stat(path).st_mtime_ns - seconds * 10**9
    os.utime(path, ns=(old, old))


class Finder:
    def __init__(self, facts):
        self.facts, self.asked = facts, 0

    def __call__(self):
        self.asked += 1
        return self.facts


def same(found, want):
    assert found.keys() == want.keys()
    for name, value in want.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[name], value)
            assert found[name].dtype == value.dtype
        else:
            assert found[name] == value


def files(cache):
    return sorted((cache / "files").iterdir()) if cache.exists() else []


def test_facts_come_back_as_they_were(path, cache):
    find = Finder(FACTS)
    for _ in range(3):
        same(kept.remembered(path, "x 1", find), FACTS)
    assert find.asked == 1
    (file,) = files(cache)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_long_regular_arrays_take_little(path, cache):
    n = 10**5
    facts = {"ids": np.arange(n, dtype=np.uint64), "valid": np.ones(n, bool)}
    kept.remembered(path, "x 1", lambda: facts)
    (file,) = files(cache)
    assert file.stat().st_size < 1000
    same(kept.remembered(path, "x 1", None), facts)


def test_nothing_is_kept_unless_asked_for(path, tmp_path, monkeypatch):
    monkeypatch.delenv("XFELRED_CACHE_DIR", raising=False)
    find = Finder(FACTS)
    for _ in range(2):
        kept.remembered(path, "x 1", find)
    assert find.asked == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_other_facts_of_a_file_are_kept_apart(path, cache):
    for what in ("x 1", "x 2", "y 1"):
        kept.remembered(path, what, Finder({"what": what}))
    for what in ("x 1", "x 2", "y 1"):
        assert kept.remembered(path, what, None) == {"what": what}


def rewritten(path, at, n=1):
    """Change bytes in place; size and time of change stay."""
    before = os.stat(path)
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
        data = file.read(n)
        file.seek(-n, os.SEEK_CUR)
        file.write(bytes(b ^ 255 for b in data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path):
    """Another file of the same content, size and time."""
    before = os.stat(path)
    shutil.copy(path, path + ".new")
    os.utime(path + ".new", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(path + ".new", path)


CHANGES = {
    "first byte": lambda path: rewritten(path, 0),
    "last byte": lambda path: rewritten(path, -1),
    "touched": lambda path: age(path, 5),
    "longer": lambda path: (os.truncate(path, 20_001), age(path)),
    "shorter": lambda path: (os.truncate(path, 19_999), age(path)),
    "replaced": replaced,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_looked_at_again(path, cache, change):
    kept.remembered(path, "x 1", Finder({"n": 1}))
    CHANGES[change](path)
    assert kept.remembered(path, "x 1", Finder({"n": 2})) == {"n": 2}


def test_a_file_that_was_just_written_is_not_kept(path, cache):
    os.utime(path)
    kept.remembered(path, "x 1", Finder({}))
    assert not files(cache)


def test_a_file_that_changes_meanwhile_is_not_kept(path, cache):
    def find():
        age(path, 5)
        return {}

    kept.remembered(path, "x 1", find)
    assert not files(cache)


DAMAGE = {
    "cut off": lambda data: data[:-8],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"\0",
    "one bit": lambda data: data[:90] + bytes([data[90] ^ 1]) + data[91:],
    "another version": lambda data: data.replace(b"files 1", b"files 2", 1),
    "a pickle": lambda data: b"cos\nsystem\n(S'touch hacked'\ntR.".ljust(len(data)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_ignored_and_written_anew(path, cache, damage):
    find = Finder(FACTS)
    kept.remembered(path, "x 1", find)
    (file,) = files(cache)
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    for _ in range(2):
        same(kept.remembered(path, "x 1", find), FACTS)
    assert find.asked == 2


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_files_that_others_may_write_are_ignored(path, cache, mode):
    find = Finder(FACTS)
    kept.remembered(path, "x 1", find)
    files(cache)[0].chmod(mode)
    kept.remembered(path, "x 1", find)
    assert find.asked == 2


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"3", b"{", b'{"a": {"\\u0000": 3}}', b"\xff",
        b'{"a": {"\\u0000": ["array", "O", 3, 0]}}\n' + bytes(24),
        b'{"a": {"\\u0000": ["array", "<i8", 3, 0]}}\n' + bytes(20),
        b'{"a": {"\\u0000": ["array", "<i8", 3, -5]}}\n' + bytes(40),
        b'{"a": {"\\u0000": ["runs", "<i8", 30, [1], [-3]]}}\n',
        b'{"a": {"\\u0000": ["what", "<i8"]}}\n',
    ],
)  # fmt: skip
def test_facts_of_another_form_are_ignored(path, cache, body):
    save_bytes(kept.FOLDER, kept.key_of(path, "x 1"), body)
    assert kept.remembered(path, "x 1", Finder({"n": 2})) == {"n": 2}


def test_a_missing_file_is_left_to_who_reads_it(tmp_path, cache):
    assert kept.remembered(str(tmp_path / "no.h5"), "x 1", Finder({"n": 1})) == {"n": 1}


def test_objects_of_a_file_do_not_stay_open_without_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(handles, "MAX_OBJECTS", 10)
    path = str(tmp_path / "many.h5")
    with h5py.File(path, "w") as f:
        for i in range(35):
            f[f"x{i}"] = np.arange(i)
    files = handles.OpenFiles(3)
    for _ in range(2):
        for i in range(35):
            np.testing.assert_array_equal(files.dataset(path, f"x{i}")[:], range(i))
            assert len(files.handle(path).objects) <= 10


@pytest.mark.parametrize(
    "odd", [np.zeros((2, 2)), np.array(["a"]), np.array([None]), object(), 1j]
)
def test_what_would_not_come_back_as_it_was_is_not_kept(odd, path, cache):
    find = Finder({"odd": odd})
    for _ in range(2):
        assert kept.remembered(path, "x 1", find)["odd"] is odd
    assert find.asked == 2
    assert files(cache) == []


def test_what_was_warned_of_is_warned_of_again(path, cache):
    def find():
        with kept.heard() as inner:
            warn("something is lost")
        assert inner == ["something is lost"]
        return {}

    for _ in range(2):
        with pytest.warns(UserWarning, match="something is lost"):
            kept.remembered(path, "x 1", find)
    assert files(cache) == []


def test_what_is_too_much_to_check_is_not_kept(path, cache, monkeypatch):
    monkeypatch.setattr(kept, "MOST", 1000)
    for n, kept_files in ((100, 1), (1000, 1)):
        kept.remembered(path, f"{n}", Finder({"x": np.arange(n) ** 2}))
        assert len(files(cache)) == kept_files
