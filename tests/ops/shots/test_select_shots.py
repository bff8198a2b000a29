import logging
import pickle

import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred import ops
from xfelred.ops.cuts import parse_cut


def scalars():
    return xr.Dataset(
        {
            "ipm2/sum": ("train", [1.0, 5.0, np.nan, 7.0, np.inf, 5.0]),
            "laser": ("train", [1, 0, 1, 1, 0, 1]),
            "diode": (("train", "diode_dim0"), np.arange(12.0).reshape(6, 2)),
            "flat": ("train", np.zeros(6)),
        },
        coords={"train": [10, 11, 12, 13, 14, 15]},
    )


@pytest.mark.parametrize(
    ("cut", "passing"),
    [
        (("ipm2/sum", 1, 7), [11, 15]),
        (["ipm2/sum", 0.5, 7.5], [10, 11, 13, 15]),
        (("ipm2/sum", 5, 5), [10, 13]),
        (("ipm2/sum", None, 5), [10]),
        ("1 < ipm2/sum < 7", [11, 15]),
        ("1 <= ipm2/sum <= 7", [10, 11, 13, 15]),
        ("7 >= ipm2/sum > 1", [11, 13, 15]),
        ("ipm2/sum == 5", [11, 15]),
        ("ipm2/sum != 5", [10, 13]),
        ("6 < ipm2/sum", [13]),
        ("ipm2/sum >= -1e-3", [10, 11, 13, 15]),
        ("laser", [10, 12, 13, 15]),
        ("not laser", [11, 14]),
        (" not `laser` ", [11, 14]),
        ("diode > 8", [12, 13, 14, 15]),
    ],
)
def test_one_cut(cut, passing):
    selected, flow = ops.select_shots(scalars(), [cut])
    assert selected.dtype == bool
    assert selected.train.values[selected.values].tolist() == passing
    assert (flow.total, flow.passed) == (6, len(passing))


def test_cuts_on_one_name_all_apply_and_the_table_counts():
    cuts = ["ipm2/sum > 1", ("laser", 0.5, 1.5), "ipm2/sum < 6"]
    selected, flow = ops.select_shots(scalars(), cuts)
    assert selected.train.values[selected.values].tolist() == [15]
    assert flow.rows == [
        ("ipm2/sum > 1", 3, 3), ("0.5 < laser < 1.5", 4, 2), ("ipm2/sum < 6", 3, 1)
    ]  # fmt: skip
    lines = str(flow).splitlines()
    assert lines[0].split() == ["cut", "alone", "cumulative"]
    assert lines[1].split()[-2:] == ["3", "3"]


def test_no_cuts_take_everything():
    selected, flow = ops.select_shots(scalars(), [])
    assert selected.all()
    assert flow.passed == 6


def test_a_value_per_pulse_selects_pulses():
    ds = scalars().assign(e=(("train", "pulse"), np.arange(12.0).reshape(6, 2)))
    selected, flow = ops.select_shots(ds, ["e > 5", "laser"])
    assert selected.dims == ("train", "pulse")
    assert flow.total == 12
    assert selected.values.sum(1).tolist() == [0, 0, 0, 2, 0, 2]


def test_nothing_passes():
    with pytest.raises(xf.SelectionEmptyError, match="removes everything") as caught:
        ops.select_shots(scalars(), ["laser", "flat == 1"])
    assert caught.value.cut_flow.rows[1] == ("flat == 1", 0, 0)
    assert "flat is constant (0)" in str(caught.value)
    assert "4            4\n" in str(caught.value)


def test_each_cut_is_logged_in_the_words_of_lcls(caplog):
    with caplog.at_level(logging.INFO, logger="xfelred"):
        ops.select_shots(scalars(), [("ipm2/sum", 1, 7)])
    assert caplog.messages == [
        "getFilter: Cut 1.000000 < ipm2/sum < 7.000000 passes 2 events of 6,"
        " total passes up to now: 2"
    ]


@pytest.mark.parametrize(
    "cut",
    [
        "__import__('os')", "a < b", "1 < a > 3", "a and b", "a == 'x'", "", "a <", 7,
        "3 < a < 1", ("a", 3, 1), ("a", "b", 2), ("a", float("nan"), 2), "a = 3",
    ],
)  # fmt: skip
def test_what_is_not_in_the_grammar(cut):
    with pytest.raises(xf.ConfigError, match=r"cut|lets nothing pass|two directions"):
        parse_cut(cut)


def test_an_unknown_name():
    with pytest.raises(xf.PropertyNameError, match="Did you mean 'ipm2/sum'"):
        ops.select_shots(scalars(), ["imp2/sum > 3"])


def test_config_errors_survive_pickling():
    error = xf.ConfigError("words", path="a.yaml", line=3, key="bins.x")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.line, copy.key) == (
        "words", "a.yaml", 3, "bins.x"
    )  # fmt: skip


@pytest.mark.parametrize("text", ["x == nan", "x != nan", "nan < x < 3", "x > nan"])
def test_nothing_is_compared_with_nan(text):
    with pytest.raises(xf.ConfigError, match="compares with nan"):
        parse_cut(text)


@pytest.mark.parametrize(
    ("cut", "passing"),
    [
        ("diode[1] > 4", [12, 13, 14, 15]),
        ("3 < diode[0] < 9", [12, 13, 14]),
        (("diode[ 1 ]", 2, 8), [11, 12, 13]),
        ("`diode[1]` == 5", [12]),
        ("not diode[0]", [10]),
        ("diode > 20", [15]),  # all of them summed
        ("wide[1,0] == 1", [11, 13, 15]),
        ("flat[0] == 0", [10, 11, 12, 13, 14, 15]),
        ("thin == 3", [13]),
    ],
)
def test_a_cut_may_name_one_of_several_values(cut, passing):
    ds = scalars()
    wide = np.zeros((6, 2, 3))
    wide[1::2, 1, 0] = 1
    ds["wide"] = (("train", "a", "b"), wide)
    ds["thin"] = (("train", "c"), np.arange(6)[:, None])
    selected, _ = ops.select_shots(ds, [cut])
    assert selected.train[selected].values.tolist() == passing
    assert selected.dims == ("train",)


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        ("diode[2] > 0", "asks for position 2, but there are positions below"),
        ("diode[0,1] > 0", "asks for position 0, 1"),
        ("laser[1] > 0", "one value per shot"),
        ("diod[1] > 0", "Did you mean 'diode'"),
    ],
)
def test_a_position_that_is_not_there_is_an_error(cut, message):
    with pytest.raises(xf.PropertyNameError, match=message):
        ops.select_shots(scalars(), [cut])


@pytest.mark.parametrize("cut", ["diode[-1] > 0", "diode[a] > 0", "diode[] > 0"])
def test_positions_are_whole_numbers(cut):
    with pytest.raises(xf.ConfigError, match=r"name\[3\] is one of several"):
        parse_cut(cut)


def test_large_whole_numbers_are_compared_to_the_last_digit():
    big = 2**60 + np.array([1, 2, 3])
    ds = xr.Dataset({"t": ("train", big)}, {"train": [1, 2, 3]})
    for cut, want in (
        (f"t == {2**60 + 1}", [True, False, False]),
        (f"t < {2**60 + 2}", [True, False, False]),
        (f"{2**60 + 1} < t <= {2**60 + 3}", [False, True, True]),
        (("t", 2**60 + 1, 2**60 + 3), [False, True, False]),
    ):
        assert ops.select_shots(ds, [cut])[0].values.tolist() == want


def test_one_value_of_a_vector_per_train():
    ds = xr.Dataset({"x": (("train", "pulse"), [[1.0, 5], [9, 0]])}, {"train": [1, 2]})
    chosen, _ = ops.select_shots(ds, ["x[1] > 3"])
    assert chosen.dims == ("train",)
    assert chosen.values.tolist() == [True, False]
