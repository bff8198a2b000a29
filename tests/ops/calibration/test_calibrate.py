"""`ops.calibrate` against slow loops."""

import numpy as np
import pytest
import xarray as xr

from xfelred import ops
from xfelred.errors import (
    GeometryMismatchError,
    InconsistentDataError,
    MissingConstantError,
)

PIXELS = ("slow_scan", "fast_scan")
MODULES = ("module", *PIXELS)
RANGES = ("gain_range", *MODULES)
SHAPE = (2, 6, 8)
CODES = np.array([0, 1, 3, 2])


def slow(raw, pedestal, gain, bad, unknown=0.0, bad_value=np.nan):
    """One pixel after the other; gain range -1 where code 2 was stored."""
    out = np.empty(raw.shape, "f4")
    for at in np.ndindex(raw.shape):
        pixel = at[-3:]
        r = {0: 0, 1: 1, 3: 2, 2: -1}[int(raw[at]) >> 14]
        adu = np.float32(raw[at] & 0x3FFF)
        if r < 0:
            out[at] = bad_value if bad[0][pixel] else adu * np.float32(unknown)
        elif bad[r][pixel]:
            out[at] = bad_value
        else:
            g = gain[r][pixel]
            factor = np.float32(0 if g == 0 else 1 / np.float64(g))
            out[at] = (adu - np.float32(pedestal[r][pixel])) * factor
    return out


@pytest.fixture
def jungfrau():
    rng = np.random.default_rng(3)
    shape = (5, 3, *SHAPE)
    code = rng.choice(CODES, p=[0.6, 0.2, 0.15, 0.05], size=shape)
    raw = (code << 14 | rng.integers(0, 1 << 14, shape)).astype("u2")
    da = xr.DataArray(
        raw, dims=("train", "pulse", *MODULES), name="adc", attrs={"units": "adu"},
        coords={"train": np.arange(5) + 100, "module": [4, 7],
                "cell": ("pulse", [0, 3, 5])},
    )  # fmt: skip
    gain = rng.normal(40, 1, (3, *SHAPE)).astype("f4")
    gain[1, 0, 0, 0] = 0
    constants = xr.Dataset(
        {
            "pedestal": (RANGES, rng.normal(3000, 9, (3, *SHAPE)).astype("f4")),
            "gain": (RANGES, gain, {"units": "adu/keV"}),
            "bad_pixels": (RANGES, rng.random((3, *SHAPE)) < 0.1),
        },
        {"module": [4, 7]},
    )
    return da, constants


def expected(da, constants, **options):
    return slow(
        da.values, *(constants[k].values for k in ("pedestal", "gain", "bad_pixels")),
        **options,
    )  # fmt: skip


@pytest.mark.parametrize("frames_per_chunk", [None, 1, 3, 5])
@pytest.mark.parametrize("unknown", ["zero", "one"])
def test_jungfrau_is_that_of_a_loop(jungfrau, frames_per_chunk, unknown, no_compute):
    da, constants = jungfrau
    if frames_per_chunk:
        da = da.chunk(train=frames_per_chunk)
    with no_compute():
        out = ops.calibrate(
            da, constants, kind="jungfrau", bad_gain_code=unknown, bad_value=-7
        )
    assert out.dtype == np.float32
    assert out.dims == da.dims
    assert set(out.coords) == set(da.coords)
    assert (out.attrs["units"], out.attrs["long_name"]) == ("keV", "signal")
    assert out.attrs["history"].startswith("calibrate {")
    want = expected(
        da.compute(), constants, unknown=float(unknown == "one"), bad_value=-7
    )
    np.testing.assert_array_equal(out.values, want)


@pytest.mark.parametrize(
    "layout",
    [
        lambda da: da.stack(frame=("train", "pulse"), create_index=False).transpose(
            "frame", ...
        ),
        lambda da: da.isel(train=0, pulse=0),
        lambda da: da.isel(pulse=0).sel(module=7),
        lambda da: da.sel(module=[7, 4]),
        lambda da: da.transpose("module", "pulse", ..., "fast_scan", "slow_scan"),
    ],
)
def test_any_layout_gives_the_same_numbers(jungfrau, layout):
    da, constants = jungfrau
    whole = ops.calibrate(da, constants, kind="jungfrau").compute()
    out = ops.calibrate(layout(da), constants, kind="jungfrau")
    xr.testing.assert_equal(out.drop_attrs(), layout(whole).drop_attrs())


def test_constants_follow_cut_pixels(jungfrau):
    da, constants = jungfrau
    whole = ops.calibrate(da, constants, kind="jungfrau").compute()
    cut = da.assign_coords(slow_scan=np.arange(6)).isel(slow_scan=slice(2, 5))
    out = ops.calibrate(cut, constants, kind="jungfrau")
    np.testing.assert_array_equal(out.values, whole.values[..., 2:5, :])
    with pytest.raises(GeometryMismatchError, match="slow_scan"):
        ops.calibrate(da.isel(slow_scan=slice(2, 5)), constants, kind="jungfrau")


def test_offset_adds_to_the_pedestal_and_gain_may_be_missing(jungfrau):
    da, constants = jungfrau
    split = constants.assign(
        pedestal=constants.pedestal - 8, offset=xr.full_like(constants.pedestal, 8)
    )
    one, two = (ops.calibrate(da, c, kind="jungfrau") for c in (constants, split))
    # The sum of both is rounded once more.
    np.testing.assert_allclose(one.values, two.values, atol=2e-5)
    plain = ops.calibrate(da, constants[["pedestal"]], kind="jungfrau")
    assert plain.attrs["units"] == "adu"
    adu = da.values[0, 0, 0, 2, 2] & 0x3FFF
    r = CODES.tolist().index(da.values[0, 0, 0, 2, 2] >> 14)
    want = adu - constants.pedestal.values[r, 0, 2, 2] if r < 3 else 0
    assert plain.values[0, 0, 0, 2, 2] == np.float32(want)


def test_bad_pixels_of_frames_are_bad_in_these_alone(jungfrau):
    da, constants = jungfrau
    rng = np.random.default_rng(5)
    bad = xr.zeros_like(da, dtype="u4").copy(data=rng.random(da.shape) < 0.2)
    out = ops.calibrate(
        da, constants, kind="jungfrau", bad_pixels=bad.astype("u4") * 64, bad_value=0
    )
    plain = constants.drop_vars("bad_pixels")
    want = ops.calibrate(da, plain, kind="jungfrau").where(bad == 0, 0)
    np.testing.assert_array_equal(out.values, want.values)
    only = bad.isel(train=0, pulse=0, drop=True)
    out = ops.calibrate(da, constants, kind="jungfrau", bad_pixels=only)
    want = ops.calibrate(da, plain, kind="jungfrau").where(only == 0)
    np.testing.assert_array_equal(out.values, want.values)


def test_frames_that_were_not_recorded_are_nan(jungfrau):
    da, constants = jungfrau
    there = np.ones((5, 2), bool)
    there[1, 0] = there[4, 1] = False
    pulses = np.ones((5, 3), bool)
    pulses[3, 2] = False
    da = da.assign_coords(
        available=(("train", "module"), there), recorded=(("train", "pulse"), pulses)
    )
    for common_mode in (None, {"groups": "row", "segment": (6, 8), "min_pixels": 0}):
        out = ops.calibrate(
            da, constants, kind="jungfrau", bad_value=0, common_mode=common_mode,
            bad_pixels=da.isel(pulse=0, drop=True) > 40000,
        )  # fmt: skip
        missing = np.isnan(out.values).all((-2, -1))
        np.testing.assert_array_equal(
            missing, ~(there[:, None, :] & pulses[:, :, None])
        )
        assert np.isnan(out.values).any((-2, -1)).sum() == missing.sum()


@pytest.mark.parametrize("frames_per_chunk", [1, 3, 5])
def test_common_mode_is_that_of_the_op_of_its_own(jungfrau, frames_per_chunk):
    da, constants = jungfrau
    da = da.chunk(train=frames_per_chunk)
    bad = constants.bad_pixels.any("gain_range")
    index = ops.gain_index(da, kind="jungfrau")
    arguments = {
        "groups": ("row", "column"), "segment": ops.Segment((6, 8), banks=2, halves=2),
        "min_pixels": 1,
    }  # fmt: skip
    adu = ops.calibrate(
        da, constants.drop_vars("gain"), kind="jungfrau", bad_pixels=bad, bad_value=0
    )
    one = ops.subtract_common_mode(adu, bad_pixels=bad, use=index == 0, **arguments)
    gain = constants.gain
    factor = xr.where(gain == 0, 0, 1 / gain.astype("f8")).astype("f4")
    chosen = sum(factor.isel(gain_range=r) * (index == r) for r in range(3))
    want = (one * chosen).astype("f4").transpose(*da.dims)
    out = ops.calibrate(
        da, constants, kind="jungfrau", bad_pixels=bad, bad_value=0,
        common_mode=arguments,
    )  # fmt: skip
    np.testing.assert_array_equal(out.values, want.values)


@pytest.mark.parametrize("coordinate", ["pulse", "both", "frame"])
def test_cells_are_looked_up_by_number(jungfrau, coordinate):
    da, constants = jungfrau
    rng = np.random.default_rng(8)
    cells = [5, 9, 0, 3]
    more = xr.concat([constants] * 4, "cell").assign_coords(cell=cells)
    more["pedestal"] = more.pedestal + 10 * more.cell
    if coordinate == "both":
        da = da.assign_coords(cell=(("train", "pulse"), rng.choice(cells, (5, 3))))
    if coordinate == "frame":
        da = da.isel(pulse=0).rename(train="frame")
        da = da.assign_coords(cell=("frame", rng.choice(cells, 5)))
    out = ops.calibrate(da, more, kind="jungfrau")
    for lead in np.ndindex(da.shape[:-3]):
        one = da[lead]
        c = more.sel(cell=int(one.cell))
        want = ops.calibrate(one, c, kind="jungfrau").values
        np.testing.assert_array_equal(out.values[lead], want)
    with pytest.raises(GeometryMismatchError, match="cell 5, 9, not"):
        ops.calibrate(da, more.isel(cell=[0, 1]), kind="jungfrau")
    with pytest.raises(MissingConstantError, match="no coordinate 'cell'"):
        ops.calibrate(da.drop_vars("cell"), more, kind="jungfrau")


def test_lazy_constants_are_packed_when_frames_are(jungfrau, no_compute):
    da, constants = jungfrau
    with no_compute():
        out = ops.calibrate(da.chunk(train=2), constants.chunk(), kind="jungfrau")
        single = ops.calibrate(
            da.sel(module=7).chunk(train=2), constants.chunk(), kind="jungfrau"
        )
    want = expected(da, constants)
    np.testing.assert_array_equal(out.values, want)
    np.testing.assert_array_equal(single.values, want[:, :, 1])


def test_pixels_without_finite_constants_are_bad(jungfrau):
    da, constants = jungfrau
    broken = constants.copy(deep=True)
    broken.pedestal[0, 0, 1, 1] = np.nan
    broken.gain[:, 1, 2, 2] = np.nan
    out = ops.calibrate(da, broken, kind="jungfrau", bad_value=-1).values
    in_range_0 = da.values[:, :, 0, 1, 1] >> 14 == 0
    np.testing.assert_array_equal(out[:, :, 0, 1, 1][in_range_0], -1)
    np.testing.assert_array_equal(out[:, :, 1, 2, 2], -1)


def test_photons_are_counted_in_adu_after_the_gain(jungfrau):
    da, constants = jungfrau
    one = ops.calibrate(da, constants, kind="jungfrau").values
    out = ops.calibrate(da, constants, kind="jungfrau", adu_per_photon=8)
    np.testing.assert_array_equal(out.values, one / 8)
    assert out.attrs["units"] == "photon"


def test_gain_stored_apart_is_read_as_codes(jungfrau):
    da, constants = jungfrau
    gain = (da >> 14).astype("u1")
    out = ops.calibrate(da & 0x3FFF, constants, kind="jungfrau_euxfel", gain_index=gain)
    np.testing.assert_array_equal(out.values, expected(da, constants))
    index = ops.gain_index(da, kind="jungfrau")
    out = ops.calibrate(da, constants, kind="jungfrau", gain_index=index)
    np.testing.assert_array_equal(out.values, expected(da, constants))


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "f4", "f8", ">u2"])
def test_plain_kinds_take_any_number(dtype):
    rng = np.random.default_rng(1)
    raw = rng.integers(0, 100, (4, 3, 5)).astype(dtype)
    da = xr.DataArray(raw, dims=("train", *PIXELS))
    constants = xr.Dataset(
        {"pedestal": (PIXELS, rng.normal(10, 1, (3, 5)).astype("f4")),
         "gain_factor": ((), 2.0, {"units": "keV/adu"})}
    )  # fmt: skip
    out = ops.calibrate(da, constants, kind="camera")
    want = (raw.astype("f4") - constants.pedestal.values) * np.float32(2)
    np.testing.assert_array_equal(out.values, want)
    if np.dtype(dtype).kind == "f":
        da = da.where(da > 20)
        out = ops.calibrate(da, constants, kind="camera", bad_value=0)
        np.testing.assert_array_equal(np.isnan(out.values), np.isnan(da.values))


def test_low_gain_pixels_of_a_cspad_weigh_more():
    da = xr.DataArray(np.full((1, 185, 388), 10, "u2"), dims=MODULES)
    config = np.ones((1, 185, 388), "u1")
    config[0, 4, 5] = 0
    constants = xr.Dataset({"pedestal": 4.0, "gain_mask": (MODULES, config)})
    out = ops.calibrate(da, constants, kind="cspad").values
    assert out[0, 4, 5] == np.float32(6 * 6.85)
    assert (out == 6).sum() == out.size - 1


@pytest.mark.parametrize("number", [1, 5, 10, (1, 25, 40, 100), (5, 100)])
def test_numbers_of_the_lcls_are_those_of_the_op_of_their_own(number):
    rng = np.random.default_rng(2)
    raw = rng.normal(1003, 4, (3, 2, 185, 388)).round().astype("u2")
    da = xr.DataArray(raw, dims=("train", *MODULES))
    factor = xr.Variable((), 0.5, {"units": "keV/adu"})
    constants = xr.Dataset({"pedestal": 1000.0, "gain_factor": factor})
    out = ops.calibrate(da, constants, kind="cspad", common_mode=number)
    adu = (da - 1000.0).astype("f4")
    pars = {"number": number} if isinstance(number, int) else {"cmpars": number}
    want = ops.subtract_common_mode_lcls(adu, detector="cspad", **pars) * 0.5
    np.testing.assert_array_equal(out.values, want.values)


def test_noise_comes_from_the_constants():
    rng = np.random.default_rng(4)
    raw = rng.normal(1000, 3, (2, 704, 768)).round().astype("u2")
    da = xr.DataArray(raw, dims=("train", *PIXELS))
    constants = xr.Dataset({"pedestal": 998.0, "noise": 3.0})
    out = ops.calibrate(da, constants, kind="epix100", common_mode=45)
    noise = xr.DataArray(np.full((704, 768), 3.0), dims=PIXELS)
    want = ops.subtract_common_mode_lcls(
        (da - 998.0).astype("f4"), 45, detector="epix100", noise=noise
    )
    np.testing.assert_array_equal(out.values, want.values)
    with pytest.raises(MissingConstantError, match="noise"):
        ops.calibrate(da, constants.drop_vars("noise"), kind="epix100", common_mode=45)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"kind": "jungfrow"}, "Did you mean 'jungfrau'"),
        ({"gain_range": 2}, {}, "needs 3 gain ranges"),
        ({}, {"kind": "epix10ka"}, "needs 7 gain ranges"),
        ({}, {"kind": "camera"}, "does not switch its gain"),
        ({"module": 1}, {}, "not 7 of the data"),
        ({"fast_scan": 5}, {}, "fast_scan"),
        ({}, {"bad_gain_code": "two"}, "bad_gain_code"),
        ({}, {"adu_per_photon": 0}, "adu_per_photon"),
        ({}, {"common_mode": {"group": "row"}}, "Did you mean 'groups'"),
        ({}, {"common_mode": "rows"}, "wanted a number"),
        ({}, {"common_mode": 7}, "512, 1024"),
        ({}, {"kind": "jungfrau_euxfel"}, "gain_index=run.frames"),
        ({}, {"gain_plane": xr.DataArray(1)}, "gain_plane is for agipd"),
        ({}, {"gain_index": xr.DataArray(1.0)}, "must be integers"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(jungfrau, change, options, message):
    da, constants = jungfrau
    constants = constants.isel({k: slice(v) for k, v in change.items()})
    with pytest.raises(ValueError, match=message):
        ops.calibrate(da, constants, **{"kind": "jungfrau", **options})


def test_frames_that_are_not_raw_are_refused(jungfrau):
    da, constants = jungfrau
    done = ops.calibrate(da, constants, kind="jungfrau")
    with pytest.raises(ValueError, match="calibrated before"):
        ops.calibrate(done, constants.isel(gain_range=0), kind="camera")
    with pytest.raises(ValueError, match="integers that hold gain bits"):
        ops.calibrate(da.astype("f4"), constants, kind="jungfrau")
    with pytest.raises(ValueError, match="jungfrau_euxfel"):
        ops.calibrate(da.assign_attrs(facility="euxfel"), constants, kind="jungfrau")
    with pytest.raises(ValueError, match="belongs to agipd"):
        ops.calibrate(da.rename(pulse="data_gain"), constants, kind="jungfrau")
    with pytest.raises(ValueError, match="no fast_scan"):
        ops.calibrate(da.isel(fast_scan=0), constants, kind="jungfrau")
    with pytest.raises(MissingConstantError, match="but no 'pedestal'"):
        ops.calibrate(da, constants.rename(pedestal="pedestals"), kind="jungfrau")
    with pytest.raises(ValueError, match="must be a Dataset"):
        ops.calibrate(da, constants.pedestal, kind="jungfrau")
    with pytest.raises(ValueError, match="keep one"):
        ops.calibrate(da, constants.assign(gain_factor=1.0), kind="jungfrau")


def test_nothing_in_gives_nothing_out(jungfrau):
    da, constants = jungfrau
    out = ops.calibrate(da.isel(train=slice(0)), constants, kind="jungfrau")
    assert out.shape == (0, 3, *SHAPE)
    assert out.values.dtype == np.float32


@pytest.fixture
def epix10ka():
    """Frames whose pixels are in all seven gains, the true index, and constants."""
    rng = np.random.default_rng(9)
    raw = rng.integers(0, 1 << 15, (4, 2, 352, 384)).astype("u2")
    da = xr.DataArray(raw, dims=("train", *MODULES))
    config = rng.choice([0, 8, 12], (2, 352, 384)).astype("u1")
    trbit = np.array([[[1, 0], [0, 1]], [[1, 1], [0, 0]]])
    high = trbit.repeat(176, 1).repeat(192, 2)
    bit = raw >> 14 & 1
    # Of fixed gains the gain bit does not matter.
    switched = np.where(high, np.where(bit, 5, 3), np.where(bit, 6, 4))
    fixed = np.where(config == 12, np.where(high, 0, 1), 2)
    index = np.where(config == 0, switched, fixed)
    constants = xr.Dataset(
        {"pedestal": (RANGES, rng.normal(3000, 9, (7, 2, 352, 384)).astype("f4")),
         "gain": ("gain_range", [1.0, 3, 100, 1, 3, 100, 100]),
         "config": (MODULES, config),
         "trbit": (MODULES, high)}
    )  # fmt: skip
    return da, index, constants, trbit


@pytest.mark.parametrize("lazy", [False, True])
def test_epix10ka_with_its_configuration(epix10ka, lazy, no_compute):
    da, index, constants, trbit = epix10ka
    da, given = (da.chunk(train=3), constants.chunk()) if lazy else (da, constants)
    with no_compute():
        found = ops.gain_index(
            da, kind="epix10k2M", config=constants.config.values, trbit=trbit
        )
        out = ops.calibrate(da, given, kind="epix10ka", common_mode=84)
        plain = constants.drop_vars(["config", "trbit"])
        other = ops.calibrate(
            da, plain, kind="epix10ka", gain_index=found, common_mode=84
        )
    np.testing.assert_array_equal(found.values, index)
    np.testing.assert_array_equal(out.values, other.values)
    none = ops.calibrate(da, given, kind="epix10ka").values
    pedestal = np.take_along_axis(constants.pedestal.values[:, None], index[None], 0)[0]
    factor = (1 / constants.gain.values).astype("f4")[index]
    want = ((da.values & 0x3FFF).astype("f4") - pedestal) * factor
    np.testing.assert_array_equal(none, want)
    with pytest.raises(MissingConstantError, match="needs gain_index="):
        ops.calibrate(da, plain, kind="epix10ka")


@pytest.mark.parametrize(("code", "unknown"), [("zero", 0.0), ("one", 1500.0)])
@pytest.mark.parametrize("given", ["gain_index", "config"])
def test_epix10ka_words_without_a_gain_index_obey_bad_gain_code(given, code, unknown):
    dims = ("module", "slow_scan", "fast_scan")
    raw = xr.DataArray(
        np.full((1, 1, 1, 352, 384), 1500, np.uint16),
        dims=("train", "pulse", *dims), coords={"train": [1], "module": [0]},
    )  # fmt: skip
    config = np.zeros((1, 352, 384), np.uint8)
    config[0, 0, 1] = 4  # stands for no gain range
    maps = {"pedestal": 1000.0, "gain": 2.0}
    constants = xr.Dataset(
        {k: (("gain_range", *dims), np.full((7, 1, 352, 384), v))
         for k, v in maps.items()},
        coords={"module": [0]},
    )  # fmt: skip
    options = {}
    if given == "config":
        constants = constants.assign(config=(dims, config), trbit=1)
    else:
        index = ops.gain_index(raw, kind="epix10ka", config=config, trbit=1)
        options = {"gain_index": index}
    out = ops.calibrate(raw, constants, kind="epix10ka", bad_gain_code=code, **options)
    # Without a range there is no pedestal either.
    assert out.values[0, 0, 0, 0, :3].tolist() == [250.0, unknown, 250.0]


def one_pixel(kind, **given):
    """Calibrate 30 adu over a pedestal of 10, with constants as (value, unit)."""
    dims = PIXELS if kind != "jungfrau" else ("train", *PIXELS)
    raw = xr.DataArray(np.full([1] * len(dims), 30, "u2"), dims=dims)
    ranges = ("gain_range", [10.0] * 3) if kind == "jungfrau" else 10.0
    constants = xr.Dataset({"pedestal": ranges})
    for name, (value, unit) in given.items():
        constants[name] = value
        constants[name].attrs = {"units": unit} if unit else {}
    out = ops.calibrate(raw, constants, kind=kind)
    return float(out.values.ravel()[0]), out.attrs["units"]


@pytest.mark.parametrize(
    ("kind", "given", "value", "unit"),
    [
        ("camera", {}, 20, "adu"),
        ("camera", {"gain": (4.0, "ADU/keV")}, 5, "keV"),
        ("camera", {"gain": (4.0, "adu per photon")}, 5, "photon"),
        ("camera", {"gain_factor": (3.0, "electron / adu")}, 60, "electron"),
        ("camera", {"gain": (1.0, "")}, 20, "adu"),
        ("camera", {"gain_factor": (1.0, "1")}, 20, "adu"),
        ("cspad", {"gain_factor": (6.85, "1")}, 137, "adu"),
        ("jungfrau", {"gain": (4.0, "")}, 5, "keV"),
        ("jungfrau", {"gain": (4.0, "1")}, 5, "keV"),
        ("jungfrau", {"gain_factor": (2.0, "1")}, 40, "keV"),
        ("epix100", {"gain": (4.0, "1")}, 5, "keV"),
        ("jungfrau", {"gain": (4.0, "adu/photon")}, 5, "photon"),
        ("camera", {"local_gain": (3.0, "1")}, 60, "adu"),
        ("camera", {"gain": (4.0, "adu/eV"), "local_gain": (3.0, "1")}, 15, "eV"),
    ],
)
def test_unit_follows_the_gain(kind, given, value, unit):
    got, found = one_pixel(kind, **given)
    assert got == pytest.approx(value, rel=1e-6)
    assert found == unit


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("camera", {"gain": (4.0, "")}),
        ("cspad", {"gain_factor": (3.0, "1")}),
        ("epix100", {"gain_factor": (0.06, "1")}),
    ],
)
def test_a_gain_of_unknown_unit_leaves_none_and_says_so(kind, given):
    with pytest.warns(UserWarning, match="that of the signal is not known: say it"):
        _, unit = one_pixel(kind, **given)
    assert unit == "1"


@pytest.mark.parametrize(
    ("name", "unit", "other"),
    [("gain", "keV/adu", "gain_factor"), ("gain_factor", "adu/keV", "gain")],
)
def test_a_gain_with_the_unit_of_its_inverse_is_an_error(name, unit, other):
    with pytest.raises(InconsistentDataError, match=f"{name}='{other}'"):
        one_pixel("camera", **{name: (4.0, unit)})


def test_maps_of_pixels_that_calibration_does_not_use_are_named():
    da = xr.DataArray(np.ones((2, 3), "u2"), dims=PIXELS)
    level = xr.zeros_like(da, float)
    constants = xr.Dataset({"pedestal": level, "flat_field": level, "x": level})
    with pytest.warns(UserWarning, match=r"does not use flat_field of the constants"):
        ops.calibrate(da, constants, kind="camera")


@pytest.mark.parametrize("dtype", ["i4", "u4", "i8", "u8"])
@pytest.mark.parametrize(
    "common_mode", [None, {"groups": "row", "segment": (6, 8), "min_pixels": 2}]
)
def test_raw_words_in_wider_integers_and_their_missing_code(
    jungfrau, dtype, common_mode
):
    da, constants = jungfrau
    options = {"kind": "jungfrau", "common_mode": common_mode}
    bad = np.zeros(da.shape, bool)
    bad[0, 1], bad[2, :, 0, 3, 4] = True, True
    masked = da.copy(data=bad)
    constants = constants.drop_vars("bad_pixels")
    want = ops.calibrate(da, constants, bad_pixels=masked, **options).values
    wide = da.astype(dtype)
    wide.values[bad] = np.array(-99999).astype(dtype)
    for chunks in ({}, {"train": 2}):
        got = ops.calibrate(wide.chunk(chunks), constants, **options)
        np.testing.assert_array_equal(got.values, want)
    assert np.isnan(got.values[bad]).all()
