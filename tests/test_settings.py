"""`xf.options`: few settings, set for good, for a while, or by the environment."""

import io
import os
import sys
import threading
import time

import dask
import dask.array
import numpy as np
import pytest

import xfelred as xf
from xfelred import progress_line
from xfelred.errors import ArgumentError, ArgumentTypeError
from xfelred.settings import SETTINGS, setting


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for _, variable, _ in SETTINGS.values():
        monkeypatch.delenv(variable, raising=False)
    with dask.config.set({"xfelred": {}}):
        yield


def test_a_call_sets_for_good_and_a_block_for_a_while():
    assert xf.options.memory_guard is True
    xf.options(memory_guard=False)
    assert xf.options.memory_guard is False
    with xf.options(memory_guard="3 GB", progress=False) as inside:
        assert inside is xf.options
        assert (inside.memory_guard, inside.progress) == (3 * 10**9, False)
        with xf.options(memory_guard=True):
            assert xf.options.memory_guard is True
        assert xf.options.memory_guard == 3 * 10**9
    assert (xf.options.memory_guard, xf.options.progress) == (False, None)


def test_a_block_that_fails_restores_too():
    with pytest.raises(ZeroDivisionError), xf.options(memory_guard=False):
        raise ZeroDivisionError
    assert xf.options.memory_guard is True


def test_the_representation_shows_the_settings():
    with xf.options(memory_guard=12345):
        for shown in (repr(xf.options), repr(xf.options())):
            assert all(name in shown for name in SETTINGS)
            assert "12345" in shown


@pytest.mark.parametrize(
    ("wrong", "near"),
    [("memory_gard", "memory_guard"), ("progres", "progress"), ("cache_dir", "cache")],
)
def test_unknown_names_are_told_the_nearest(wrong, near):
    with pytest.raises(TypeError, match=near) as error:
        xf.options(**{wrong: True})
    assert isinstance(error.value, ArgumentTypeError)
    with pytest.raises(AttributeError, match=near):
        getattr(xf.options, wrong)


def test_a_wrong_name_or_value_changes_nothing():
    for wrong in ({"gard": 1}, {"progress": "maybe"}):
        with pytest.raises(xf.XfelredError):
            xf.options(memory_guard=False, **wrong)
        assert xf.options.memory_guard is True


@pytest.mark.parametrize("value", ["much", -5, None, object(), float("nan"), "nan", []])
def test_what_is_no_size_is_refused(value):
    with pytest.raises(ArgumentError, match="memory_guard is"):
        xf.options(memory_guard=value)


def test_the_environment_holds_until_something_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("XFELRED_MEMORY_GUARD", "off")
    monkeypatch.setenv("XFELRED_PROGRESS", "0")
    monkeypatch.setenv("XFELRED_CACHE_DIR", str(tmp_path))
    assert [setting(name) for name in SETTINGS] == [False, False, str(tmp_path)]
    with xf.options(memory_guard=True, cache_directory=None, progress=None):
        assert [setting(name) for name in SETTINGS] == [True, None, None]
    monkeypatch.setenv("XFELRED_MEMORY_GUARD", "2 MiB")
    assert xf.options.memory_guard == 2 << 20


def test_a_setting_holds_in_other_threads():
    found = []
    with xf.options(memory_guard=77):
        thread = threading.Thread(target=lambda: found.append(xf.options.memory_guard))
        thread.start()
        thread.join()
    assert found == [77]


def test_a_cache_directory_is_an_absolute_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with xf.options(cache_directory="kept"):
        assert xf.options.cache_directory == os.path.join(os.getcwd(), "kept")
    with pytest.raises(ArgumentTypeError, match="cache_directory"):
        xf.options(cache_directory=3)


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("screen", [True, False])
def test_progress_shows_computations_on_threads(screen, monkeypatch):
    monkeypatch.setattr(progress_line, "ON_SCREEN", 0.0)
    monkeypatch.setattr(progress_line, "IN_FILE", 0.0)
    shown = Screen() if screen else io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    work = dask.array.ones((8,), chunks=1).map_blocks(lambda x: time.sleep(0.01) or x)
    with xf.options(progress=True):
        work.compute()
    text = shown.getvalue()
    assert "8 of " in text
    assert ("\r" in text) == screen
    assert text.endswith("\n")
    work.compute()
    assert shown.getvalue() == text


@pytest.mark.parametrize("value", [0, "0", np.int64(0), np.False_])
def test_zero_switches_the_guard_off_as_in_the_environment(value):
    with xf.options(memory_guard=value):
        assert xf.options.memory_guard is False


def test_sizes_of_numpy_are_sizes():
    with xf.options(memory_guard=np.int64(77)):
        assert xf.options.memory_guard == 77


def test_a_setting_is_not_hidden_by_an_attribute():
    with pytest.raises(AttributeError, match=r"xf.options\(memory_guard=3\)"):
        xf.options.memory_guard = 3
    assert xf.options.memory_guard is True


def test_a_path_with_an_end_of_text_inside_is_refused():
    with pytest.raises(ArgumentTypeError, match="cache_directory is 'a"):
        xf.options(cache_directory="a\0b")
