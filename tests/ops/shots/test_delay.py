import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops

IDS = np.arange(40)
R = np.random.default_rng(4)
TT = R.normal(0, 0.1, 40)


def columns(**values):
    named = {k.replace("__", "/"): ("train", v) for k, v in values.items()}
    return xr.Dataset(named, coords={"train": IDS})


STEPS = np.repeat([-1e-12, 0, 1e-12, 2e-12], 10)


def test_a_scanned_lxt_is_in_seconds():
    got = ops.delay(columns(scan__lxt=STEPS, tt__ttCorr=TT, enc__lasDelay=IDS + 0.0))
    np.testing.assert_allclose(got, STEPS * 1e12 + TT, atol=1e-12)
    assert (got.attrs["nominal"], got.attrs["correction"]) == ("scan/lxt", "tt/ttCorr")
    assert got.attrs["units"] == "ps"
    assert got.name == "delay"


@pytest.mark.parametrize("name", ["enc__lasDelay", "enc__lasDelay2"])
@pytest.mark.parametrize(("scale", "factor"), [(1.0, 1.0), (1e-12, 1e12)])
def test_encoders_are_in_ps_or_s_by_their_spread(name, scale, factor):
    values = np.linspace(-3, 3, 40) * scale
    got = ops.delay(columns(scan__lxt=np.zeros(40), **{name: values}), use_tt=False)
    np.testing.assert_allclose(got, values * factor)
    assert got.attrs["nominal"] == name.replace("__", "/")
    assert got.attrs["correction"] == "none"


def test_an_encoder_that_rests_is_passed_over():
    few = np.repeat([1.0, 2.0], 20)
    target = np.repeat([1e-12, 3e-12], 20)
    ds = columns(enc__lasDelay=few, epics__lxt_ttc=target)
    np.testing.assert_allclose(ops.delay(ds, use_tt=False), target * 1e12)
    ds = ds.assign({"enc/ch0": ("train", np.linspace(0, 1e-11, 40))})
    assert ops.delay(ds, use_tt=False).attrs["nominal"] == "enc/ch0"


def test_a_constant_correction_is_replaced():
    ds = columns(scan__lxt=STEPS, tt__ttCorr=np.zeros(40), tt__FLTPOS_PS=TT)
    got = ops.delay(ds)
    assert got.attrs["correction"] == "tt/FLTPOS_PS"
    np.testing.assert_allclose(got, STEPS * 1e12 + TT, atol=1e-12)


def test_names_and_units_can_be_given():
    ds = columns(mine=np.linspace(0, 500, 40), other=TT, epics__lxt_ttc=STEPS)
    got = ops.delay(ds, nominal=("mine", "fs"), correction="other", add_lxt=True)
    np.testing.assert_allclose(got, ds["mine"] / 1000 + TT + STEPS * 1e12, atol=1e-12)
    assert ops.delay(ds, nominal="mine", use_tt=False).values[-1] == 500
    seconds = columns(mine=STEPS)
    np.testing.assert_allclose(
        ops.delay(seconds, nominal="mine", use_tt=False), STEPS * 1e12
    )


def test_nan_stays_nan():
    broken = TT.copy()
    broken[3] = np.nan
    got = ops.delay(columns(scan__lxt=STEPS, tt__ttCorr=broken))
    assert np.isnan(got).sum() == 1


@pytest.mark.parametrize(
    ("ds", "options", "words"),
    [
        (columns(a=STEPS), {}, "no nominal delay found"),
        (columns(scan__lxt=STEPS), {}, "use_tt=False"),
        (columns(scan__lxt=STEPS), {"nominal": "scan/lxtt"}, "Did you mean 'scan/lxt'"),
        (columns(scan__lxt=STEPS), {"nominal": ("scan/lxt", "m")}, "one of ps"),
    ],
)
def test_what_cannot_be_found(ds, options, words):
    with pytest.raises(xf.ConfigError, match=words):
        ops.delay(ds, **options)


def test_only_scalars_and_runs_are_taken():
    with pytest.raises(TypeError, match="Dataset of scalars or a run"):
        ops.delay(xr.DataArray(STEPS, dims="train"))


def table(values):
    return (("train", "scan/lxt_dim0"), np.asarray(values))


def test_a_table_of_one_column_is_a_column():
    ds = columns(enc__lasDelay=IDS + 0.0).assign({"scan/lxt": table(STEPS[:, None])})
    for nominal in ("auto", "scan/lxt", ("scan/lxt", "s"), "scan/lxt[0]"):
        got = ops.delay(ds, nominal=nominal, use_tt=False)
        np.testing.assert_allclose(got, STEPS * 1e12)
        assert got.dims == ("train",)


def test_of_several_columns_one_has_to_be_named():
    two = table(np.stack([STEPS * 0, STEPS], axis=1))
    ds = columns(enc__lasDelay=IDS + 0.0).assign({"scan/lxt": two})
    with pytest.raises(xf.ConfigError, match=r"name one: 'scan/lxt\[0\]'"):
        ops.delay(ds, use_tt=False)
    got = ops.delay(ds, nominal=("scan/lxt[1]", "s"), use_tt=False)
    np.testing.assert_allclose(got, STEPS * 1e12)
    ds["tt/all"] = (("train", "tt/all_dim0"), np.stack([TT, TT * 3], axis=1))
    got = ops.delay(ds, nominal=("scan/lxt[1]", "s"), correction="tt/all[1]")
    np.testing.assert_allclose(got, STEPS * 1e12 + 3 * TT)
    with pytest.raises(xf.ConfigError, match=r"position 2.*below \(2,\)"):
        ops.delay(ds, nominal="scan/lxt[2]", use_tt=False)
