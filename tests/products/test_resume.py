import json

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

from xfelred.errors import InconsistentDataError, OutputExistsError
from xfelred.products import blocks, write
from xfelred.products.resumable import read_record, versions, write_record


class Source:
    """Blocks that can be counted, and made to fail."""

    def __init__(self):
        self.read = []
        self.fails_at = None

    def block(self, n):
        if n == self.fails_at:
            raise KeyboardInterrupt
        self.read.append(n)
        return np.random.default_rng(n).random((2, 3)).astype("float32")

    def frames(self, name="source-1", n_blocks=6):
        return xr.DataArray(
            dask.array.Array(
                {(name, n, 0): (self.block, n) for n in range(n_blocks)},
                name,
                ((2,) * n_blocks, (3,)),
                dtype="float32",
            ),
            dims=("train", "x"),
            coords={"train": np.arange(2 * n_blocks, dtype="uint64") + 10**9},
            name="frames",
            attrs={"units": "adu"},
        )


@pytest.fixture
def source(monkeypatch):
    # One block per batch, so that the test knows what is on disk when it fails.
    monkeypatch.setattr(blocks.batches, "__defaults__", (1,))
    return Source()


@pytest.fixture
def interrupted(source, tmp_path):
    """A product of six blocks of which three are done."""
    path = tmp_path / "a.zarr"
    source.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        write(source.frames(), path, resume=True)
    source.fails_at = None
    assert source.read == [0, 1, 2]
    source.read.clear()
    return path


def stored(path):
    files = (p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json")
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_interrupted_product_does_not_have_its_name(interrupted, only):
    assert only(interrupted.parent, "a.zarr.partial")
    manifest = json.loads(
        (interrupted.parent / "a.zarr.partial/manifest.json").read_text()
    )
    assert manifest["schema_version"] == 1
    assert manifest["tokens"]["frames"] == "source-1"
    assert manifest["done"] == [
        ["frames", [0, 0]],
        ["frames", [2, 0]],
        ["frames", [4, 0]],
    ]


def test_second_call_computes_only_missing_blocks(interrupted, source, only):
    assert write(source.frames(), interrupted, resume=True) == interrupted
    assert source.read == [3, 4, 5]
    assert only(interrupted.parent, "a.zarr")


def test_resumed_product_has_the_same_bytes(interrupted, source):
    write(source.frames(), interrupted, resume=True)
    whole = write(source.frames(), interrupted.with_name("whole.zarr"), resume=True)
    plain = write(source.frames(), interrupted.with_name("plain.zarr"))
    assert stored(interrupted) == stored(whole) == stored(plain)
    attrs = [xr.open_zarr(p).frames.attrs for p in (interrupted, whole, plain)]
    assert attrs[0] == attrs[1] == attrs[2]


def test_finished_product_is_left_alone(interrupted, source):
    write(source.frames(), interrupted, resume=True)
    source.read.clear()
    assert write(source.frames(), interrupted, resume=True) == interrupted
    assert source.read == []


def test_other_data_do_not_continue_a_product(interrupted, source):
    with pytest.raises(InconsistentDataError, match="frames differ"):
        write(source.frames("source-2"), interrupted, resume=True)
    write(source.frames(), interrupted, resume=True)
    with pytest.raises(InconsistentDataError, match="written from other data: frames"):
        write(source.frames("source-2"), interrupted, resume=True)


def test_other_labels_do_not_continue_a_product(interrupted, source):
    frames = source.frames()
    frames["train"] = frames.train + 1
    with pytest.raises(InconsistentDataError, match="train differ"):
        write(frames, interrupted, resume=True)


def test_other_versions_do_not_continue_a_product_unsaid(interrupted, source):
    path = interrupted.parent / "a.zarr.partial/manifest.json"
    content = read_record(path, "manifest")
    told = content["software"]
    assert told == versions()
    write_record(path, content | {"software": told | {"numpy": "1.0"}})
    with pytest.warns(UserWarning, match=r"numpy 1\.0 .*last digits"):
        write(source.frames(), interrupted, resume=True)
    interrupted.rename(interrupted.with_name("done.zarr"))
    source.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        write(source.frames(), interrupted, resume=True)
    source.fails_at = None
    write_record(path, content | {"xfelred_version": "0.0.7"})
    with pytest.raises(InconsistentDataError, match=r"xfelred 0\.0\.7.*anew"):
        write(source.frames(), interrupted, resume=True)


def test_overwrite_starts_anew(interrupted, source, only):
    write(source.frames("source-2"), interrupted, resume=True, overwrite=True)
    assert source.read == [0, 1, 2, 3, 4, 5]
    source.read.clear()
    write(source.frames("source-3"), interrupted, resume=True, overwrite=True)
    assert source.read == [0, 1, 2, 3, 4, 5]
    assert only(interrupted.parent, "a.zarr")


def test_interrupted_product_is_not_ignored(interrupted, source, only):
    with pytest.raises(OutputExistsError, match=r"resume=True.*overwrite=True"):
        write(source.frames(), interrupted)
    write(source.frames(), interrupted, overwrite=True)
    assert only(interrupted.parent, "a.zarr")


@pytest.mark.parametrize("resume", [True, False])
def test_directory_that_is_no_unfinished_product_is_never_deleted(
    source, tmp_path, resume
):
    precious = tmp_path / "a.zarr.partial" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years of work")
    for overwrite in (True, False):
        with pytest.raises(OutputExistsError):
            write(
                source.frames(), tmp_path / "a.zarr", resume=resume, overwrite=overwrite
            )
    assert precious.exists()


def test_product_of_a_plain_call_is_not_taken_for_finished(source, tmp_path):
    path = write(source.frames(), tmp_path / "a.zarr")
    with pytest.raises(OutputExistsError, match="not written with resume=True"):
        write(source.frames(), path, resume=True)


def test_every_kind_of_variable_can_be_resumed(dataset, tmp_path):
    path = write(dataset, tmp_path / "a.zarr", resume=True)
    plain = write(dataset, tmp_path / "b.zarr")
    xr.testing.assert_identical(
        xr.open_zarr(path).drop_attrs(deep=False),
        xr.open_zarr(plain).drop_attrs(deep=False),
    )


@pytest.mark.parametrize("kind", ["datetime64[ns]", "bool", "uint64", "float64"])
def test_lazy_dtypes_can_be_resumed(tmp_path, kind):
    values = np.arange(6).astype(kind)
    da = xr.DataArray(dask.array.from_array(values, chunks=2), dims="train", name="v")
    ds = xr.Dataset({"v": da}, coords={"lazy": ("train", da.data)})
    result = xr.open_zarr(write(ds, tmp_path / "a.zarr", resume=True))
    assert result.v.dtype == result.lazy.dtype == values.dtype
    np.testing.assert_array_equal(result.v, values)
    np.testing.assert_array_equal(result.lazy, values)


def test_crash_while_the_manifest_is_written_loses_only_that_block(
    source, tmp_path, monkeypatch
):
    path = tmp_path / "a.zarr"
    dump, calls = json.dump, []

    def torn(content, file):
        calls.append(1)
        if len(calls) == 4:
            file.write('{"torn')
            raise OSError("disk is gone")
        dump(content, file)

    monkeypatch.setattr(json, "dump", torn)
    with pytest.raises(OSError, match="disk is gone"):
        write(source.frames(), path, resume=True)
    source.read.clear()
    write(source.frames(), path, resume=True)
    assert source.read == [2, 3, 4, 5]
    np.testing.assert_array_equal(xr.open_zarr(path).frames, source.frames())


@pytest.mark.parametrize("suffix", [".nxs", ".nc", ".tif", ".cxi"])
def test_other_formats_say_that_they_cannot_resume(source, tmp_path, suffix):
    with pytest.raises(ValueError, match=r"resume=True works with \.zarr only"):
        write(source.frames(), tmp_path / f"a{suffix}", resume=True)
