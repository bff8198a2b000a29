"""Small data as zarr and parquet: the numbers of the HDF5 file, and what is asked."""

import warnings

import h5py
import numpy as np
import pytest
import xarray as xr

import xfelred as xf
from xfelred.errors import ConfigError, MissingExtraError
from xfelred.recipes.reduce_run import reduced
from xfelred.recipes.write_cube import How
from xfelred.synth.lcls import write_smalldata

DET = "jungfrau1M"
TREE = [
    {"function": "roi", "name": "R", "bounds": [[0, 1], [1, 5], [2, 7]],
     "write_area": True},
    {"function": "droplets", "name": "dr", "threshold": 5.0, "use_noise": False,
     "functions": [{"function": "sparsify", "name": "list"},
                   {"function": "sparsify", "name": "rag", "n": 0}]},
]  # fmt: skip


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "xpptest01_Run0047.h5"
    write_smalldata(path, n_events=20, shape=(2, 6, 8), n_banks=2, without_image=0.15)
    return path


@pytest.fixture
def run(source):
    return xf.open_run(source)


def recipe(*formats, sums=("calib",)):
    return {
        "schema_version": 1,
        "kind": "smalldata",
        "variables": ["ipm2/sum"],
        "detectors": {DET: {"functions": TREE, "sums": list(sums)}},
        "execution": {"block_trains": 7},
        "output": {"formats": list(formats)},
    }


def test_zarr_holds_what_hdf5_holds(run, tmp_path):
    result = reduced(run, recipe("h5", "zarr"), tmp_path, How())
    assert [p.name for p in result.paths] == [
        "xpptest01_Run0047.h5", "xpptest01_Run0047.zarr"
    ]  # fmt: skip
    with h5py.File(result.paths[0]) as file, xr.open_zarr(result.paths[1]) as ds:
        names = []
        file.visit(names.append)
        for name in (n for n in names if isinstance(file[n], h5py.Dataset)):
            mine, plain = file[name][()], name.replace("/", "__")
            if file[name].dtype.kind != "O":
                np.testing.assert_array_equal(ds[plain].values, mine, err_msg=name)
            elif "ragged" in name:
                ends = np.cumsum(ds[f"{plain}_len"].values)[:-1]
                for one, row in zip(
                    np.split(ds[plain].values, ends), mine, strict=True
                ):
                    np.testing.assert_array_equal(one, row)
            else:
                assert ds.attrs[plain] == mine.decode()
        assert (ds.train.values == file["event_time"][()]).all()
        assert ds.attrs["run_id"] == "xpptest01_Run0047"
    assert reduced(run, recipe("h5", "zarr"), tmp_path, How()).reused == 3


def test_parquet_has_a_row_for_each_shot(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = reduced(run, recipe("h5", "parquet"), tmp_path, How())
    found = parquet.read_table(result.paths[1]).to_pandas()
    with h5py.File(result.paths[0]) as file:
        assert len(found) == len(file["event_time"])
        np.testing.assert_array_equal(found["ipm2__sum"], file["ipm2/sum"][()])
        sums = found[f"{DET}__R_sum"]
        np.testing.assert_array_equal(sums, file[f"{DET}/R_sum"][()])
        area = np.array([[list(r) for r in one[0]] for one in found[f"{DET}__R_area"]])
        np.testing.assert_array_equal(area, file[f"{DET}/R_area"][()][:, 0])
        n = file[f"{DET}/var_dr_list_len"][()]
        ends = np.cumsum(n)[:-1]
        fields = {"var_dr_list/data": f"{DET}__var_dr_list__data"}
        for name, column in fields.items():
            rows = np.split(file[f"{DET}/{name}"][()], ends)
            for one, row in zip(found[column], rows, strict=True):
                np.testing.assert_array_equal(one, row)
        rows = file[f"{DET}/ragged_dr_rag_data"][()]
        for one, row in zip(found[f"{DET}__ragged_dr_rag_data"], rows, strict=True):
            np.testing.assert_array_equal(one, row)
    assert not [c for c in found if c.startswith("Sums")]


def test_parquet_alone_says_what_it_lacks(run, tmp_path):
    pytest.importorskip("pyarrow")
    with pytest.warns(UserWarning, match="Sums"):
        xf.reduce_run(run, recipe("parquet"), tmp_path)
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".parquet"]


def test_a_missing_package_is_told_before_anything_is_read(run, tmp_path, monkeypatch):
    monkeypatch.setattr("xfelred.products.parquet.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"xfelred\[io\]"):
        xf.reduce_run(run, recipe("parquet"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_told(run, tmp_path):
    with pytest.raises(ConfigError, match="parquet") as caught:
        xf.reduce_run(run, recipe("feather"), tmp_path)
    assert caught.value.key == "output.formats.0"


def test_tables_of_a_run_as_parquet(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    ds = run.scalars(["ipm2/sum", "ipm2/channels"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path = xf.write(ds, tmp_path / "values.parquet")
    found = parquet.read_table(path).to_pandas()
    np.testing.assert_array_equal(found["ipm2__sum"], ds["ipm2/sum"])
    np.testing.assert_array_equal(found["train"], ds.train)
