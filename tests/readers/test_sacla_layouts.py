"""SACLA images in every way that HDF5 can store them, against h5py."""

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.readers.sacla import survey

N, SHAPE = 6, (12, 10)
VALUES = np.random.default_rng(0).normal(0, 100, (N, *SHAPE)).astype("f4")
STORED = {
    "contiguous": {},
    "chunked": {"chunks": (5, 4)},
    "gzip": {"chunks": (5, 4), "compression": "gzip"},
    "shuffle+gzip": {"chunks": (12, 10), "compression": "gzip", "shuffle": True},
    "fletcher": {"chunks": (5, 4), "fletcher32": True},
    "lzf": {"chunks": (5, 4), "compression": "lzf"},
    "resizable": {"chunks": (6, 5), "maxshape": (None, None)},
    "track_times": {"track_times": True},
}


def write(path, *, file_options=None, dtype="f4", make=None, **stored):
    with h5py.File(path, "w", **(file_options or {})) as file:
        group = file.create_group("run_5/detector_2d_assembled_1")
        for i in range(N):
            tag = group.create_group(f"tag_{98 + i}")
            image = VALUES[i].astype(dtype)
            if make:
                make(tag, image, i)
            else:
                tag.create_dataset("detector_data", data=image, **stored)
            tag["detector_status"] = np.int8(i % 2)
    return path


def check(path, expected=VALUES):
    array = xf.open_run(path).frames()
    np.testing.assert_array_equal(array.values[:, 0, 0], expected)
    np.testing.assert_array_equal(array.detector_status, np.arange(N) % 2)
    np.testing.assert_array_equal(array.train, 98 + np.arange(N))
    window = array[1::2, 0, 0, 2:11:3, 1:].compute()
    np.testing.assert_array_equal(window, expected[1::2, 2:11:3, 1:])
    return array


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_storage(tmp_path, kind, libver):
    path = tmp_path / "a.h5"
    write(path, file_options={"libver": libver}, **STORED[kind])
    array = check(path)
    expected = STORED[kind].get("chunks")
    plan = array.data.node.plan
    assert plan.chunk == ((1, *expected) if expected else ())


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "u4", "f8", ">f4", ">i2"])
def test_types(tmp_path, dtype):
    array = check(
        write(tmp_path / "a.h5", dtype=dtype), VALUES.astype(dtype).astype(dtype)
    )
    assert array.dtype.isnative
    assert array.dtype == np.dtype(dtype).newbyteorder("=")


def test_userblock(tmp_path):
    path = write(tmp_path / "a.h5", file_options={"userblock_size": 2048})
    check(path)


def test_compact_images(tmp_path):
    def make(tag, image, i):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(image.shape)
        made = h5py.h5d.create(
            tag.id, b"detector_data", h5py.h5t.NATIVE_FLOAT, space, plist
        )
        h5py.Dataset(made)[...] = image

    check(write(tmp_path / "a.h5", make=make))


def test_mixed_storage_and_types(tmp_path):
    def make(tag, image, i):
        options = list(STORED.values())[i]
        kind = ["f4", "f4", "f8", "f4", "f4", "f4"][i]
        tag.create_dataset("detector_data", data=image.astype(kind), **options)

    check(write(tmp_path / "a.h5", make=make))


@pytest.mark.parametrize("whole_tag", [True, False])
def test_external_links(tmp_path, whole_tag):
    """A user's file may collect the images of another one; addresses lie there."""
    other = write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("run_5/detector_2d_assembled_1")
        for i in range(N):
            name = f"/run_5/detector_2d_assembled_1/tag_{98 + i}"
            if whole_tag:
                group[f"tag_{98 + i}"] = h5py.ExternalLink(other, name)
                continue
            tag = group.create_group(f"tag_{98 + i}")
            tag["detector_data"] = h5py.ExternalLink(other, f"{name}/detector_data")
            tag["detector_status"] = np.int8(i % 2)
    check(tmp_path / "a.h5")


def test_missing_external_file_is_an_error(tmp_path):
    other = write(tmp_path / "other.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        group = file.create_group("run_5/detector_2d_assembled_1")
        for i in range(N):
            tag = group.create_group(f"tag_{98 + i}")
            name = f"/run_5/detector_2d_assembled_1/tag_{98 + i}/detector_data"
            tag["detector_data"] = h5py.ExternalLink(
                other if i < 5 else tmp_path / "gone.h5", name
            )
    with pytest.raises(xf.BrokenFileError, match="tag_103/detector_data"):
        xf.open_run(tmp_path / "a.h5").frames()


def test_soft_links(tmp_path):
    def make(tag, image, i):
        tag["values"] = image
        tag["detector_data"] = h5py.SoftLink(f"{tag.name}/values")

    check(write(tmp_path / "a.h5", make=make))


def test_virtual_images(tmp_path):
    source = tmp_path / "source.h5"
    with h5py.File(source, "w") as file:
        file["images"] = VALUES

    def make(tag, image, i):
        layout = h5py.VirtualLayout(SHAPE, "f4")
        layout[...] = h5py.VirtualSource(source, "images", VALUES.shape)[i]
        tag.create_virtual_dataset("detector_data", layout)

    check(write(tmp_path / "a.h5", make=make))


@pytest.mark.parametrize("kind", ["contiguous", "gzip", "track_times"])
def test_headers_save_opening(tmp_path, kind, monkeypatch):
    """Where all images are alike, HDF5 opens only a few of them."""
    path = write(tmp_path / "a.h5", **STORED[kind])
    opened = []
    slow = survey.Look.slow_fault
    monkeypatch.setattr(
        survey.Look, "slow_fault", lambda *a: opened.append(a) or slow(*a)
    )
    check(path)
    assert len(opened) == 1


@pytest.mark.parametrize("other", ["shape", "type", "filter", "fill"])
def test_no_header_passes_for_another(tmp_path, other):
    """One dataset in the middle differs in just one respect."""

    def make(tag, image, i):
        options = {"chunks": (6, 5)} if other == "filter" else {}
        if i == 3:
            image = {
                "shape": image.T, "type": image.astype("i4"), "filter": image,
                "fill": image,
            }[other]  # fmt: skip
            options |= {
                "filter": {"compression": "gzip"},
                "fill": {"fillvalue": 3.0},
            }.get(other, {})
        tag.create_dataset("detector_data", data=image, **options)

    path = write(tmp_path / "a.h5", make=make)
    if other == "shape":
        with pytest.warns(UserWarning, match="tag 101"):
            array = xf.open_run(path).frames()
        assert np.isnan(array[3]).all()
        np.testing.assert_array_equal(array[4, 0, 0], VALUES[4])
        return
    expected = VALUES.copy()
    if other == "type":
        expected[3] = expected[3].astype("i4")
    check(path, expected)
