"""The history of results: lines that can be read back and repeat themselves."""

import json

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, open_run, ops, write
from xfelred.provenance import jsonable, record


def lines(result):
    """The history as (operation, parameters) pairs, read back from its text."""
    pairs = (line.split(" ", 1) for line in result.attrs["history"].splitlines())
    return [(op, json.loads(text)) for op, text in pairs]


def test_a_line_is_a_name_and_json():
    array = xr.DataArray([1.0], attrs={"units": "adu"})
    out = record(array, "scale", factor=2, dims=("a", "b"))
    assert lines(out) == [("scale", {"factor": 2, "dims": ["a", "b"]})]
    assert out.attrs["units"] == "adu"
    assert "history" not in array.attrs


def test_lines_are_added_in_order():
    out = record(record(xr.Dataset(), "first"), "second", b=1, a=None)
    assert lines(out) == [("first", {}), ("second", {"a": None, "b": 1})]
    assert out.attrs["history"].endswith('second {"a": null, "b": 1}')


def test_lines_of_several_parents_are_not_repeated():
    start = record(xr.DataArray([1.0]), "read")
    one, two = record(start, "left"), record(start, "right")
    out = record(xr.DataArray([2.0]), "add", one, two)
    assert [op for op, _ in lines(out)] == ["read", "left", "right", "add"]


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True),
        (float("nan"), "nan"), (float("-inf"), "-inf"), (np.s_[1:5:2], "1:5:2"),
        ({1: (2, 3)}, {"1": [2, 3]}), (None, None), (np.dtype("f4"), "float32"),
    ],
)  # fmt: skip
def test_parameters_become_plain_json(value, want):
    assert jsonable(value) == want
    json.dumps(jsonable(value), allow_nan=False)


def test_arrays_enter_by_their_content():
    one, same, other = np.arange(5.0), np.arange(5.0), np.arange(1.0, 6.0)
    assert jsonable(one) == jsonable(same) != jsonable(other)
    assert jsonable(one).startswith("array:")
    assert len(jsonable(one)) == len("array:") + 8


def test_a_pipeline_writes_the_same_history_every_time(agipd_run):
    def reduced():
        frames = open_run(agipd_run.directory).frames(bad_pixels="keep")
        bad = masks.from_good(frames.isel(train=0, pulse=0, drop=True) * 0 + 1)
        return ops.statistics(ops.apply_bad_pixels(frames, bad), "train")

    first = reduced()
    assert [op for op, _ in lines(first)][-2:] == ["apply_bad_pixels", "statistics"]
    assert first.attrs["history"] == reduced().attrs["history"]


def test_two_histories_differ_where_parameters_do(agipd_run):
    run = open_run(agipd_run.directory)
    plain, part = run.frames(), run.frames(modules=[0, 3])
    assert plain.attrs["history"] != part.attrs["history"]
    assert len(lines(plain)) == 1


# -- histories of others ---------------------------------------------------------------

OF_OTHERS = {
    "text": ("made by hand", "made by hand"),
    "number": (7, "7"),
    "none": (None, ""),
    "list": (["one", "two"], "one\ntwo"),
    "mixed": ("one", "one"),
    "list of numbers": ([1, 2.5, None], "1\n2.5"),
    "tuple": (("a", b"b"), "a\nb"),
    "array of text": (np.array(["a", "b"]), "a\nb"),
    "array": (np.arange(3), "0\n1\n2"),
    "matrix": (np.ones((2, 2)), "1.0\n1.0\n1.0\n1.0"),
    "bytes": (b"caf\xe9", "caf\ufffd"),
    "map": ({"b": 1, "a": [2]}, '{"a": [2], "b": 1}'),
    "huge": (10**5000, None),
}
of_others = pytest.mark.parametrize("kind", OF_OTHERS)


@of_others
def test_a_history_of_any_type_goes_on(kind):
    value, text = OF_OTHERS[kind]
    array = xr.DataArray([1.0], dims="x", attrs={"history": value}, name="a")
    out = record(array, "scale", factor=2)
    *before, last = out.attrs["history"].split("\n")
    assert last == 'scale {"factor": 2}'
    if text is not None:
        assert "\n".join(dict.fromkeys(before)) == "\n".join(
            dict.fromkeys(text.split("\n")) if text else []
        )


@of_others
@pytest.mark.parametrize("suffix", [".zarr", ".nc", ".h5"])
def test_a_history_of_any_type_is_written(kind, suffix, tmp_path):
    value = OF_OTHERS[kind][0]
    array = xr.DataArray(np.arange(3.0), dims="x", attrs={"history": value}, name="a")
    path = write(ops.statistics(array, "x"), tmp_path / f"a{suffix}")
    assert path.exists()
    write(array.to_dataset().assign_attrs(history=value), path, overwrite=True)


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\x1b[2Jb"])
def test_text_that_a_file_cannot_hold_is_shown(text, tmp_path):
    array = xr.DataArray(np.arange(3.0), dims="x", name="a")
    array.attrs = {"history": text, "comment": text}
    for suffix in (".zarr", ".nc", ".h5"):
        assert write(array, tmp_path / f"a{suffix}").exists()


def test_a_long_history_takes_no_time():
    text = "\n".join(f"op {i}" for i in range(100_000))
    out = record(xr.DataArray([1.0], attrs={"history": text}), "scale")
    assert len(out.attrs["history"].splitlines()) == 100_001
