"""Index arrays that are alike are one, and so are the locations made of them."""

import gc

import numpy as np
import pytest

import xfelred as xf
from xfelred import synth
from xfelred.lazy import Cursor
from xfelred.lazy.blocks import node_of
from xfelred.lazy.nodes import sources
from xfelred.readers.euxfel.alike import KNOWN, alike, compact


@pytest.mark.parametrize(
    "values", [[], [5], [1, 2, 3], [3, 1, 2], [2**31 - 1], [-1, 2**31]]
)
def test_compact_numbers_are_the_same_numbers(values):
    given = np.array(values, np.int64)
    made = compact(given)
    np.testing.assert_array_equal(made, given)
    assert made.dtype == (np.int64 if max(values, default=0) >= 2**31 else np.int32)


def test_equal_arrays_are_one_and_others_are_not():
    one = alike(np.array([7, 8, 9]))
    assert alike(np.array([7, 8, 9])) is one
    assert alike(np.array([7, 8, 9], np.int32)) is not one
    assert alike(np.array([7, 0, 9])).tolist() == [7, 0, 9]
    with pytest.raises(ValueError, match="read-only"):
        one[0] = 3


def test_arrays_that_are_not_needed_are_forgotten():
    one = alike(np.array([11, 12, 13, 14]))
    assert any(v is one for v in KNOWN.values())
    del one
    gc.collect()
    assert all(v.tolist() != [11, 12, 13, 14] for v in KNOWN.values())


def test_modules_and_sources_share_what_is_the_same(tmp_path):
    place = tmp_path / "r0001"
    synth.euxfel.write_run(place, n_trains=6, pulses=2, sequences=6)
    run = xf.open_run(place)
    assert len({id(f.train_ids) for f in run.all_files}) == 1
    modules = [s for s in run.instrument_sources if "CH0:" in s]
    found = [run[s].located("image") for s in modules]
    assert len(modules) > 1
    for one in found:
        np.testing.assert_array_equal(one.first, np.arange(6) * 2)
        np.testing.assert_array_equal(one.count, 2)
    again = run[modules[0]].located("image")
    assert again is found[0]
    part = run.select_trains(slice(1, 4))[modules[0]].located("image")
    np.testing.assert_array_equal(part.first, [2, 4, 6])


def test_one_module_at_a_time_is_the_whole(tmp_path):
    place = tmp_path / "r0001"
    synth.euxfel.write_run(place, n_trains=4, pulses=2, sequences=4)
    frames = xf.open_run(place).frames(bad_pixels=None, roi=(slice(3), slice(2)))
    (source,) = sources(node_of(frames))
    cursor = Cursor(source.plan)
    for m in range(3):
        np.testing.assert_array_equal(cursor.module(m), frames[:, :, m : m + 1])
    assert not cursor.modules
