"""Names and meaning of bad-pixel bits."""

import numpy as np
import pytest
import xarray as xr

from xfelred import masks


def test_every_name_is_one_bit_of_its_own():
    values = list(masks.names.values())
    assert all(v > 0 and v & (v - 1) == 0 for v in values)
    assert len(set(values)) == len(values)
    assert max(values) == 2**31


@pytest.mark.parametrize(
    ("name", "bit"),
    [("NO_DARK_DATA", 3), ("VALUE_IS_NAN", 11), ("NON_SENSITIVE", 19), ("USER_1", 30)],
)
def test_bits_are_those_of_the_facility(name, bit):
    assert masks.names[name] == 1 << bit


@pytest.mark.parametrize(
    ("chosen", "number"),
    [
        (None, None),
        (5, 5),
        (np.int64(5), 5),
        ("NO_DARK_DATA", 8),
        (["NO_DARK_DATA", 1, "USER_2"], 8 + 1 + 2**31),
        (("OFFSET_OUT_OF_THRESHOLD", 1), 1),
        ([], 0),
    ],
)
def test_bits_are_given_by_number_or_name(chosen, number):
    got = masks.bits(chosen)
    assert got == number
    assert got is None or type(got) is int


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(ValueError, match=r"'DEAD'.*NO_DARK_DATA"):
        masks.bits(["USER_1", "DEAD"])


@pytest.mark.parametrize("dtype", ["bool", "u1", "i4", "f4"])
def test_from_good_turns_the_meaning_round(dtype):
    good = xr.DataArray(np.array([0, 1, 1, 0], dtype), dims="x", coords={"x": range(4)})
    bad = masks.from_good(good)
    assert bad.dtype == bool
    assert bad.values.tolist() == [True, False, False, True]
    assert bad.name == "bad_pixels"
    assert bad.x.values.tolist() == [0, 1, 2, 3]
    assert "from_good" in bad.attrs["history"]


def test_from_good_leaves_lazy_masks_lazy(no_compute):
    good = xr.DataArray(np.array([[1, 0], [0, 1]]), dims=("y", "x")).chunk()
    with no_compute():
        bad = masks.from_good(good)
    assert bad.values.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize("segment", ["epix100", (7, 9), masks.Segment((4, 6), 3, 2)])
@pytest.mark.parametrize("width", [0, 1, 2, (0, 3), (1, 0), 100])
def test_edges(segment, width):
    bad = masks.edges(segment, width)
    rows, columns = width if isinstance(width, tuple) else (width, width)
    n_rows, n_columns = bad.shape
    r, c = np.mgrid[:n_rows, :n_columns]
    expected = np.minimum(r, n_rows - 1 - r) < rows
    expected |= np.minimum(c, n_columns - 1 - c) < columns
    assert bad.dims == ("slow_scan", "fast_scan")
    assert bad.dtype == bool
    np.testing.assert_array_equal(bad, expected)


def test_central_pixels_lie_at_the_borders_of_asics():
    bad = masks.central("jungfrau", 2)
    assert np.flatnonzero(bad[0]).tolist() == [
        254, 255, 256, 257, 510, 511, 512, 513, 766, 767, 768, 769,
    ]  # fmt: skip
    assert np.flatnonzero(bad[:, 0]).tolist() == [254, 255, 256, 257]
    assert not masks.central((512, 1024)).any()
    assert not masks.central("pnccd").any()
    assert masks.central("epix100", (0, 1)).sum() == 2 * 704


@pytest.mark.parametrize(("neighbours", "n"), [(0, 38), (4, 186), (8, 332)])
def test_unbonded(neighbours, n):
    bad = masks.unbonded("cspad2x1", neighbours)
    assert bad.sum() == n
    assert bad[180, 180]
    assert bad[0, 0]
    assert not masks.unbonded("jungfrau", neighbours).any()


@pytest.mark.parametrize("shape", ["cross", "square", "rhombus", "circle"])
@pytest.mark.parametrize("radius", [0, 1, 3, 50])
def test_grow_is_that_of_a_loop(shape, radius):
    bad = np.random.default_rng(0).random((2, 9, 14)) < 0.03
    expected = np.zeros_like(bad)
    r, c = np.mgrid[:9, :14]
    for m, i, j in np.argwhere(bad):
        dr, dc = np.abs(r - i), np.abs(c - j)
        expected[m] |= {
            "cross": (dr + dc <= radius) & ((dr == 0) | (dc == 0)),
            "square": np.maximum(dr, dc) <= radius,
            "rhombus": dr + dc <= radius,
            "circle": np.hypot(dr, dc) <= radius,
        }[shape]
    np.testing.assert_array_equal(masks.grow(bad, radius, shape), expected)
    dims = ("fast_scan", "module", "slow_scan")
    coords = {"module": [3, 7]}
    labelled = xr.DataArray(bad.transpose(2, 0, 1).astype("u4") * 9, coords, dims)
    grown = masks.grow(labelled, radius, shape)
    assert grown.dims == dims
    assert grown.dtype == bool
    assert grown.module.values.tolist() == [3, 7]
    np.testing.assert_array_equal(grown.transpose(dims[1], dims[2], dims[0]), expected)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_from_status_takes_some_bits(dtype):
    top = np.iinfo(dtype).min if dtype[0] == "i" else 1 << 8 * int(dtype[1]) - 1
    status = xr.DataArray(np.array([0, 1, 2, 5, top], dtype), dims="fast_scan")
    assert masks.from_status(status).values.tolist() == [0, 1, 1, 1, 1]
    assert masks.from_status(status, 1).values.tolist() == [0, 1, 0, 1, 0]
    assert masks.from_status(status, 6).values.tolist() == [0, 0, 1, 1, 0]
    assert masks.from_status(status, 0).values.tolist() == [0, 0, 0, 0, 0]
    names = ["OFFSET_NOISE_EVAL_ERROR"]
    assert masks.from_status(status, names).values.tolist() == [0, 0, 0, 1, 0]


def test_from_status_merges_gain_ranges(no_compute):
    status = np.zeros((7, 2, 3, 4), "u2")
    status[0, 0, 0, 0] = status[3, 1, 1, 1] = status[6, 0, 2, 2] = 4
    dims = ("gain_range", "module", "slow_scan", "fast_scan")
    with no_compute():
        da = xr.DataArray(status, dims=dims).chunk()
        every, five = masks.from_status(da), masks.from_status(da, gain_ranges=range(5))
        one = masks.from_status(da, 4, gain_ranges=3)
    assert every.dims == dims[1:]
    assert [int(b.sum()) for b in (every, five, one)] == [3, 2, 1]
    with pytest.raises(ValueError, match="no 7 among 7"):
        masks.from_status(da, gain_ranges=[0, 7])
    with pytest.raises(ValueError, match="gain_range"):
        masks.from_status(da[0], gain_ranges=0)
    with pytest.raises(ValueError, match="float"):
        masks.from_status(da.astype("f4"))


def test_combine_is_a_union_of_bits_or_of_flags():
    dims = ("module", "slow_scan")
    a = xr.DataArray([[True, False]], {"module": [2]}, dims)
    b = xr.DataArray(np.array([0, 6], "u4"), dims="slow_scan")
    assert masks.combine(a, a[:, ::-1]).dtype == bool
    both = masks.combine(a, b)
    assert both.dtype == np.uint32
    assert both.values.tolist() == [[1, 6]]
    assert both.module.values.tolist() == [2]
    for wrong in ((), (a, b.astype("f4")), (a, np.ones(2)), (b, b[:1])):
        with pytest.raises(ValueError, match=r"wanted|labels"):
            masks.combine(*wrong)
    with pytest.raises(ValueError, match="labels"):
        masks.combine(a, a.assign_coords(module=[3]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: masks.edges("jungfrua"), "Did you mean 'jungfrau'"),
        (lambda: masks.edges("epix100", -1), "width=-1"),
        (lambda: masks.edges("epix100", (1, 2, 3)), "width"),
        (lambda: masks.unbonded("cspad2x1", 5), "neighbours=5"),
        (lambda: masks.grow(np.zeros((3, 3)), 1, "star"), "'star'"),
        (lambda: masks.grow(np.zeros((3, 3)), -1), "radius=-1"),
        (lambda: masks.grow(np.zeros(3)), "shape"),
        (lambda: masks.grow(xr.DataArray(np.zeros((3, 3)))), "slow_scan"),
        (lambda: masks.Segment((512, 1024), 7), "does not divide 1024"),
        (lambda: masks.Segment((5, 4), 2, 2), "halves=2"),
        (lambda: masks.Segment((4, 4)).groups("rwo"), "Did you mean 'row'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", list(masks.segments))
def test_segments_are_consistent(name):
    segment = masks.segment_of(name.upper())
    assert segment == masks.segment_of(segment)
    for kind in ("row", "full_row", "column", "full_column", "bank", "all"):
        height, width = segment.groups(kind)
        assert segment.shape[0] % height == segment.shape[1] % width == 0
    for starts, n in zip(segment.asics, segment.shape, strict=True):
        assert all(0 < s < n for s in starts)


@pytest.mark.parametrize("dtype", [bool, "u1", int, float])
@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5), (3, 2, 4, 5)])
def test_masks_without_labels_get_the_dims_of_pixels(dtype, shape):
    good = np.ones(shape, dtype)
    good[..., 1, 2] = 0
    out = masks.from_good(good)
    assert out.dims == ("gain_range", "module", "slow_scan", "fast_scan")[-len(shape) :]
    np.testing.assert_array_equal(out, good == 0)
    if dtype is float:
        good[..., 0, 0] = np.nan
        assert masks.from_good(good).sum() == 2 * out.sum()
        return
    status = masks.from_status(good)
    assert status.dims == ("module", "slow_scan", "fast_scan")[-len(status.shape) :]
    assert not status[..., 1, 2].any()
    np.testing.assert_array_equal(masks.combine(good, ~out) != 0, good != 0)


def test_a_mask_of_one_axis_has_no_place():
    for make in (masks.from_good, masks.from_status, masks.combine, masks.grow):
        with pytest.raises(ValueError, match="wanted 2 to 4 axes"):
            make(np.ones(5, bool))
