"""One run of SACLA in several files, against what was written into them."""

import h5py
import numpy as np
import pytest

import xfelred as xf
from xfelred.errors import InconsistentDataError, MultiRunError

RUN = "run_739127"
SHUTTER = "bl_3/eh_1/xfel_pulse_selector_status"
PULSE_ENERGY = "bl_3/oh_2/bm_1_pulse_energy_in_joule"


def write(path, tags, modules=(1, 2), rows=None, run=RUN, **options):
    """Write images of `tags`, and rows of the event table (by default of the same)."""
    rows = tags if rows is None else rows
    dtype, gain = options.get("dtype", "f4"), options.get("gain", 17.0)
    with h5py.File(path, "w") as f:
        top = f.create_group(run)
        if len(rows):
            table = top.create_group("event_info")
            table["tag_number_list"] = np.array(rows, np.uint32)
            table[SHUTTER] = np.array([t % 20 != 0 for t in rows], np.int32)
            values = np.array(rows) * 1e-6 + options.get("offset", 0)
            if options.get("column", True):
                table[PULSE_ENERGY] = values
            for name, made in options.get("columns", {}).items():
                table[name] = made(np.array(rows))
        for k in modules:
            group = top.create_group(f"detector_2d_{k}")
            group["detector_info/detector_name"] = f"MPCCD-2N0-1-002-{k}"
            group["detector_info/absolute_gain"] = gain
            for t in tags:
                value = options.get("value", t % 1000 + k)
                image = np.full(options.get("shape", (4, 3)), value, dtype)
                group[f"tag_{t}/detector_data"] = image
                group[f"tag_{t}/temperature"] = t / 10
                group[f"tag_{t}/detector_status"] = t % 3
    return str(path)


def expected(tags, modules=(1, 2)):
    values = np.array(tags)[:, None] % 1000 + np.array(modules)
    return values[:, None, :, None, None] * np.ones((1, 1, 1, 4, 3))


@pytest.mark.parametrize("order", [1, -1])
def test_windows_of_tags_are_one_run(tmp_path, order):
    tags = [*range(96, 104, 2), *range(1000, 1010, 2), *range(5000, 5004)]
    paths = [
        write(tmp_path / f"w{i}.h5", window)
        for i, window in enumerate((tags[:4], tags[4:9], tags[9:]))
    ]
    for source in (paths[::order], str(tmp_path / "w*.h5"), tmp_path):
        run = xf.open_run(source)
        assert run.run_id == RUN
        assert run.train_ids == tags
        frames = run.frames()
        np.testing.assert_array_equal(frames, expected(tags))
        np.testing.assert_array_equal(frames.detector_status[:, 0], np.array(tags) % 3)
        assert bool(frames.available.all())
        found = run.scalars(["I0", "detector_2d_2/temperature"])
        np.testing.assert_allclose(found.I0, np.array(tags) * 1e-6)
        temperature = found["detector_2d_2/temperature"]
        np.testing.assert_allclose(temperature, np.array(tags) / 10)
        assert frames.shutter_open.values.tolist() == [t % 20 != 0 for t in tags]
        part = run.select_trains(xf.by_id[1000:5002]).frames(modules=2)
        np.testing.assert_array_equal(part, expected(tags[4:11], [2]))
        assert "and 2 more" in repr(run)
        assert run.tag_step in (1, 2)


def test_modules_and_the_event_table_may_be_in_files_of_their_own(tmp_path):
    tags = list(range(100, 108))
    one = write(tmp_path / "a.h5", tags, modules=[1], rows=[])
    two = write(tmp_path / "b.h5", tags[2:], modules=[2], rows=[])
    table = write(tmp_path / "c.h5", tags, modules=[], rows=range(90, 120))
    run = xf.open_run([one, two, table])
    frames = run.frames()
    assert frames.train.values.tolist() == tags
    assert frames.available.values.tolist() == [[True, False]] * 2 + [[True, True]] * 6
    np.testing.assert_array_equal(frames[2:], expected(tags)[2:])
    assert np.isnan(frames.values[:2, :, 1]).all()
    assert run.scalars(["I0"]).sizes["train"] == 30
    assert not run.lit.sel(train=100).item()
    keys = run[run.sources[0], "temperature"].xarray()
    assert np.isnan(keys.values[0, 1])
    assert keys.values[3, 1] == 10.3


def test_rows_may_repeat_where_they_are_the_same(tmp_path):
    """DataConvert writes the rows of the whole run next to some of its images."""
    every = range(100, 120)
    text = {"note": lambda t: [f"shot {v}".encode() for v in t]}
    a = write(tmp_path / "a.h5", range(100, 106), rows=every, columns=text)
    b = write(tmp_path / "b.h5", range(106, 112), rows=every, columns=text)
    run = xf.open_run([a, b])
    found = run.scalars(["I0", "note"])
    np.testing.assert_allclose(found.I0, np.arange(100, 120) * 1e-6)
    assert found.note.values.tolist() == [f"shot {t}" for t in every]
    c = write(tmp_path / "c.h5", range(112, 114), rows=every, offset=1e-9)
    other = xf.open_run([a, c])
    said = r"bm_1_pulse_energy.* of tag 100 is .*a\.h5, .*c\.h5; duplicate_tags='first'"
    with pytest.raises(InconsistentDataError, match=said):
        other.scalars(["I0"])
    first = xf.open_run([a, c], duplicate_tags="first").scalars(["I0"])
    np.testing.assert_allclose(first.I0, np.arange(100, 120) * 1e-6, rtol=1e-12)


def test_column_that_a_file_lacks_is_nan_there(tmp_path):
    extra = {"count": lambda t: t.astype(np.int32), "word": lambda t: [b"x"] * len(t)}
    a = write(tmp_path / "a.h5", range(100, 103), columns=extra)
    b = write(tmp_path / "b.h5", range(103, 105), column=False)
    found = xf.open_run([a, b]).scalars(["I0", "count", "word", SHUTTER])
    np.testing.assert_allclose(found.I0[:3], [1e-4, 1.01e-4, 1.02e-4])
    assert np.isnan(found.I0[3:]).all()
    np.testing.assert_array_equal(found["count"], [100, 101, 102, np.nan, np.nan])
    assert found.word.values.tolist() == ["x", "x", "x", "", ""]
    assert found[SHUTTER].dtype == np.int32
    run = xf.open_run([a, b])
    assert run["event_info", "count"].dtype == np.float64
    assert run["event_info", SHUTTER].dtype == np.int32


def test_an_image_in_two_files_is_an_error_unless_the_first_is_wanted(tmp_path):
    a = write(tmp_path / "a.h5", range(100, 104))
    b = write(tmp_path / "b.h5", range(103, 106), value=-1)
    with pytest.raises(InconsistentDataError, match=r"tag 103, are in .*a\.h5 and in"):
        xf.open_run([a, b])
    for paths, value in (([a, b], 104), ([b, a], -1)):
        run = xf.open_run(paths, duplicate_tags="first")
        assert run.frames().sel(train=103, module=1).values.ravel()[0] == value
        assert run.train_ids == list(range(100, 106))
    assert xf.open_run([a, a]).train_ids == list(range(100, 104))


def test_images_of_other_kinds_are_promoted_or_refused(tmp_path):
    a = write(tmp_path / "a.h5", range(100, 103), dtype="i2")
    b = write(tmp_path / "b.h5", range(103, 105), dtype="f4")
    frames = xf.open_run([a, b]).frames()
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, expected(range(100, 105)))
    c = write(tmp_path / "c.h5", range(105, 107), shape=(5, 3))
    with pytest.raises(
        InconsistentDataError, match=r"(?s)a\.h5.*\(4, 3\).*c\.h5.*\(5, 3\)"
    ):
        xf.open_run([a, c]).frames()


def test_files_that_are_not_of_one_run_are_told_apart(tmp_path):
    a = write(tmp_path / "a.h5", range(100, 103))
    b = write(tmp_path / "b.h5", range(200, 203), run="run_5")
    with pytest.raises(MultiRunError, match=r"2 runs; say which: run=5, run=739127"):
        xf.open_run([a, b])
    assert xf.open_run([a, b], run=5).train_ids == [200, 201, 202]
    assert xf.open_run(str(tmp_path / "*.h5"), run="run_5").train_ids[0] == 200
    c = write(tmp_path / "c.h5", range(103, 105))
    with h5py.File(c, "r+") as f:
        del f[f"{RUN}/detector_2d_1/detector_info/detector_name"]
        f[f"{RUN}/detector_2d_1/detector_info/detector_name"] = "MPCCD-1N0-M01-001"
    with pytest.raises(InconsistentDataError, match=r"'MPCCD-2N0-1-002-1' in .*a\.h5"):
        xf.open_run([a, c])
    with h5py.File(tmp_path / "e.h5", "w") as f:
        images = f.create_group(f"{RUN}/detector_2d_1")
        images["tag_99/detector_data"] = np.zeros((4, 3), "f4")
    for paths in ([a, str(tmp_path / "e.h5")], [str(tmp_path / "e.h5"), a]):
        plain = xf.open_run(paths)  # that file tells nothing of the detector
        assert list(plain.detectors) == ["MPCCD-2N0-1-002"]
        assert plain.train_ids == [99, 100, 101, 102]
    d = write(tmp_path / "d.h5", range(103, 105), gain=16.0)
    with pytest.warns(UserWarning, match=r"absolute_gain \(17.0 and 16.0\)"):
        run = xf.open_run([a, d])
    assert run.constants().absolute_gain.values.tolist() == [17.0, 17.0]
