"""Common mode of groups as a labelled operation."""

import warnings

import numpy as np
import pytest
import xarray as xr

from xfelred import masks, ops
from xfelred.errors import GeometryMismatchError
from xfelred.lazy.array import PlannedArray
from xfelred.readers.open import open_run

DIMS = ("train", "pulse", "module", "slow_scan", "fast_scan")
SEGMENT = ops.Segment((6, 20), banks=2, halves=2)
SIZES = {"bank": (3, 10), "row": (1, 10), "column": (3, 1), "full_row": (1, 20),
         "full_column": (6, 1), "all": (6, 20)}  # fmt: skip


@pytest.fixture
def frames():
    rng = np.random.default_rng(0)
    data = rng.normal(4, 3, (7, 2, 3, 6, 20)).astype("f4")
    data[3, 0, 1] = np.nan
    data[rng.random(data.shape) < 0.03] = np.nan
    coords = {"train": np.arange(100, 107), "module": [1, 4, 7]}
    return xr.DataArray(data, coords, DIMS, "image", {"units": "adu"})


@pytest.fixture
def bad():
    values = np.random.default_rng(1).random((4, 6, 20)) < 0.3
    values[2, :3, :10] = True
    coords = {"module": [7, 1, 4, 9]}
    return xr.DataArray(values.astype("u4") * 8, coords, DIMS[2:])


def slowly(frames, bad, kinds, *, min_pixels=0, mean=False, limit=np.inf, every=False):
    out = frames.values.copy()
    good = np.ones(out.shape, bool) & (bad.sel(module=[1, 4, 7]).values == 0)
    for kind in kinds:
        h, w = SIZES[kind]
        for index in np.ndindex(out.shape[:-2]):
            for top in range(0, 6, h):
                for left in range(0, 20, w):
                    part = (*index, slice(top, top + h), slice(left, left + w))
                    ok = good[part] & ~np.isnan(out[part])
                    enough = ok.sum() >= min_pixels + (kind not in ("bank", "all"))
                    if not ok.any() or not enough:
                        continue
                    cm = (
                        np.mean(out[part][ok], dtype="f8")
                        if mean
                        else np.median(out[part][ok])
                    )
                    if abs(cm) < limit:
                        where = np.ones_like(ok) if every else good[part]
                        out[part] -= np.where(where, np.float32(cm), 0)
    return out


@pytest.mark.parametrize("frames_per_chunk", [1, 3, 7])
def test_result_does_not_depend_on_chunks(frames, bad, frames_per_chunk, no_compute):
    lazy = frames.chunk({"train": frames_per_chunk, "module": 2})
    with no_compute():
        out = ops.subtract_common_mode(
            lazy, segment=SEGMENT, bad_pixels=bad, min_pixels=2
        )
    assert out.dims == DIMS
    assert out.dtype == np.float32
    assert out.name == "image"
    assert out.attrs["units"] == "adu"
    assert out.attrs["history"].startswith('subtract_common_mode {"apply_to": "good"')
    assert out.module.values.tolist() == [1, 4, 7]
    expected = slowly(frames, bad, ("bank", "row", "column"), min_pixels=2)
    np.testing.assert_array_equal(out, expected)
    assert frames.attrs == {"units": "adu"}


@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("estimator", ["median", "mean"])
@pytest.mark.parametrize("apply_to", ["good", "all"])
def test_every_kind_of_group(frames, bad, kind, estimator, apply_to):
    out = ops.subtract_common_mode(
        frames, kind, segment=SEGMENT, bad_pixels=bad, min_pixels=3,
        estimator=estimator, apply_to=apply_to, max_correction=5,
    )  # fmt: skip
    expected = slowly(
        frames, bad, (kind,), min_pixels=3, mean=estimator == "mean", limit=5,
        every=apply_to == "all",
    )  # fmt: skip
    np.testing.assert_allclose(out, expected, atol=2e-6 if estimator == "mean" else 0)


def test_order_of_groups_is_kept(frames, bad):
    kinds = ("column", "row")
    one = ops.subtract_common_mode(
        frames, kinds, segment=SEGMENT, bad_pixels=bad, min_pixels=0
    )
    np.testing.assert_array_equal(one, slowly(frames, bad, kinds))
    other = slowly(frames, bad, kinds[::-1])
    assert not np.array_equal(one, other, equal_nan=True)


def test_layouts_agree(frames, bad):
    def run(da):
        return ops.subtract_common_mode(da, segment=SEGMENT, bad_pixels=bad)

    whole = run(frames).values
    flat = frames.stack(frame=("train", "pulse")).reset_index("frame", drop=True)
    flat = flat.transpose("frame", ...)
    np.testing.assert_array_equal(run(flat), whole.reshape(14, 3, 6, 20))
    one = run(frames.sel(module=4).isel(pulse=0, drop=True))
    np.testing.assert_array_equal(one, whole[:, 0, 1])
    image = run(frames.sel(module=7)[2, 1])
    np.testing.assert_array_equal(image, whole[2, 1, 2])
    turned = run(frames.transpose("fast_scan", "module", "slow_scan", ...))
    np.testing.assert_array_equal(turned.transpose(*DIMS), whole)


def test_used_pixels_vary_from_frame_to_frame(frames, no_compute):
    use = frames.copy(data=np.random.default_rng(2).random(frames.shape) < 0.6)
    with no_compute():
        out = ops.subtract_common_mode(
            frames.chunk({"train": 2}), "row", segment=SEGMENT,
            use=use.chunk({"train": 3}), min_pixels=0,
        )  # fmt: skip
    values, chosen = frames.values, use.values
    kept = np.where(chosen, values, np.nan).reshape(7, 2, 3, 6, 2, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cm = np.nan_to_num(np.nanmedian(kept, axis=-1)).repeat(10, axis=-1)
    np.testing.assert_array_equal(out, np.where(chosen, values - cm, values))


def test_offsets_on_request(frames, bad, no_compute):
    with no_compute():
        full = ops.subtract_common_mode(
            frames.chunk({"train": 2}), ("bank", "row"), segment=SEGMENT,
            bad_pixels=bad, min_pixels=0, full=True,
        )  # fmt: skip
    assert full.offset.dims == (*DIMS[:3], "group")
    assert full.kind.values.tolist() == ["bank"] * 4 + ["row"] * 12
    image = frames.values
    banks = full.offset.values[..., :4].reshape(7, 2, 3, 2, 2)
    rows = full.offset.values[..., 4:].reshape(7, 2, 3, 6, 2)
    total = np.nan_to_num(banks).repeat(3, -2) + np.nan_to_num(rows)
    good = bad.sel(module=[1, 4, 7]).values == 0
    expected = image - np.where(good, total.repeat(10, -1), 0)
    np.testing.assert_allclose(full.corrected, expected, atol=3e-6)
    plain = ops.subtract_common_mode(
        frames, ("bank", "row"), segment=SEGMENT, bad_pixels=bad, min_pixels=0
    )
    np.testing.assert_array_equal(full.corrected, plain)
    used = (good & ~np.isnan(image)).reshape(7, 2, 3, 2, 3, 2, 10).sum((-1, -3))
    np.testing.assert_array_equal(full.n_used[..., :4], used.reshape(7, 2, 3, 4))
    assert full.n_used.dtype == np.int64
    assert (np.isnan(full.offset[..., :4]) == (full.n_used[..., :4] == 0)).all()
    assert full.corrected.attrs["units"] == full.offset.attrs["units"] == "adu"
    assert "subtract_common_mode" in full.attrs["history"]


@pytest.mark.parametrize(
    ("dtype", "result"), [("u2", "f4"), ("i4", "f8"), ("f8", "f8")]
)
def test_precision(frames, dtype, result):
    data = np.round(frames.fillna(0) + 50).astype(dtype)
    out = ops.subtract_common_mode(data, "all", segment=SEGMENT)
    assert out.dtype == result
    expected = data - np.median(data.values, axis=(-2, -1), keepdims=True)
    np.testing.assert_array_equal(out, expected)


def test_without_a_mask_any_number_of_pixels_will_do(frames):
    few = frames.where(frames.fast_scan % 10 == 0)
    out = ops.subtract_common_mode(few, "row", segment=SEGMENT)
    there = ~np.isnan(out.values)
    assert there.any()
    assert (out.values[there] == 0).all()
    bad = xr.zeros_like(frames[0, 0], dtype=bool)
    kept = ops.subtract_common_mode(few, "row", segment=SEGMENT, bad_pixels=bad)
    np.testing.assert_array_equal(kept, few)


def test_all_bad_and_no_frames(frames, bad):
    out = ops.subtract_common_mode(
        frames, segment=SEGMENT, bad_pixels=xr.ones_like(bad)
    )
    np.testing.assert_array_equal(out, frames)
    empty = ops.subtract_common_mode(frames[:0], segment=SEGMENT, full=True)
    assert empty.corrected.shape == (0, 2, 3, 6, 20)
    assert empty.offset.compute().shape[0] == 0


def test_it_streams_with_the_read(agipd_run):
    da = open_run(agipd_run.directory).frames()
    out = ops.subtract_common_mode(da, ("bank", "row"), segment="AGIPD1M")
    assert isinstance(out.data, PlannedArray)
    assert out.data.node is not None
    direct = ops.subtract_common_mode(da.load(), ("bank", "row"), segment="agipd")
    np.testing.assert_array_equal(out, direct)
    np.testing.assert_array_equal(out[1:, 1].sel(module=3), direct[1:, 1].sel(module=3))


@pytest.mark.parametrize("name", ["agipd", "lpd", "dssc", "jungfrau", "mpccd"])
def test_offsets_of_banks_are_found_on_every_detector(name):
    segment = masks.segment_of(name)
    rng = np.random.default_rng(3)
    rows, columns = segment.groups("bank")
    size = (1, segment.halves, segment.banks)
    offset = rng.integers(-9, 9, size).repeat(rows, 1).repeat(columns, 2)
    noise = np.round(rng.normal(0, 2, (1, *segment.shape)))
    da = xr.DataArray((noise + offset).astype("f4"), dims=DIMS[2:])
    out = ops.subtract_common_mode(da, "bank", segment=name)
    np.testing.assert_array_equal(out, noise)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": "jungfrua"}, "Did you mean 'jungfrau'"),
        ({"segment": "jungfrau"}, r"\(512, 1024\) pixels.*\(6, 20\)"),
        ({"groups": ("row", "colunm")}, "Did you mean 'column'"),
        ({"groups": ()}, "groups is empty"),
        ({"estimator": "mode"}, "estimator='mode'"),
        ({"apply_to": "bad"}, "apply_to='bad'"),
        ({"max_correction": 0}, "max_correction=0"),
        ({"max_correction": np.nan}, "max_correction=nan"),
        ({"min_pixels": -1}, "min_pixels=-1"),
        ({"bad_pixels": np.zeros((6, 20))}, "must be bool or integer"),
        ({"use": xr.DataArray(np.ones((6, 20)), dims=DIMS[3:])}, "use must be bool"),
        ({"bad_pixels": xr.DataArray(np.ones((5, 20), bool), dims=DIMS[3:])}, "differ"),
        ({"use": xr.DataArray(np.ones(9, bool), dims="cell")}, "cell"),
    ],
)
def test_bad_input_is_found_while_building(frames, options, message, no_compute):
    with (
        no_compute(),
        pytest.raises((ValueError, GeometryMismatchError), match=message),
    ):
        ops.subtract_common_mode(frames.chunk(), **{"segment": SEGMENT, **options})


def test_data_must_be_images_of_numbers(frames):
    with pytest.raises(ValueError, match="fast_scan"):
        ops.subtract_common_mode(frames[..., 0], segment=SEGMENT)
    with pytest.raises(ValueError, match="complex"):
        ops.subtract_common_mode(frames.astype("c8"), segment=SEGMENT)
