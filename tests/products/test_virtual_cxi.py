"""The function beside the method of the same name."""

import h5py
import numpy as np
import pytest

import xfelred as xf


def test_function_writes_what_the_method_writes(agipd_run, tmp_path):
    detector = xf.open_run(agipd_run.directory).detector()
    path = xf.write_virtual_cxi(detector, tmp_path / "a.cxi", fillvalues={"data": -1.0})
    with h5py.File(path, "r") as f:
        data = f["entry_1/instrument_1/detector_1/data"]
        assert data.is_virtual
        train, pulse = agipd_run.train_ids[0], 4
        at = (
            f["entry_1/experiment_identifier"]
            .asstr()[:]
            .tolist()
            .index(f"{train}:{pulse}")
        )
        np.testing.assert_array_equal(data[at, 3], agipd_run.frame(train, pulse, 3))
        assert (data[at, 5] == -1).all()


def test_an_array_is_refused_with_advice(tmp_path):
    with pytest.raises(TypeError, match=r"run.detector\(\)"):
        xf.write_virtual_cxi(np.zeros(3), tmp_path / "a.cxi")
