"""Every form of a file that the page of the calibration suite allows."""

import h5py
import numpy as np
import pytest

import xfelred as xf

COUNTS = (4, 2, 3)
ENTRY = (2, 5, 6)
TOTAL = sum(COUNTS)


def step_frames():
    rng = np.random.default_rng(8)
    return [rng.integers(0, 999, (n, *ENTRY)).astype("u2") for n in COUNTS]


def padded(values, fill):
    out = np.full((len(values), max(COUNTS), *values[0].shape[1:]), fill, "f4")
    for i, one in enumerate(values):
        out[i, : len(one)] = one
    return out


@pytest.fixture
def opened(tmp_path):
    def write(fill):
        path = tmp_path / "suite.h5"
        with h5py.File(path, "w") as file:
            file["ancillaryData/scriptType"] = "delayScan"
            file["ancillaryData/ancillaryDataType"] = "delay"
            fill(file)
        return xf.open_run(path)

    return write


def per_step(pattern):
    def fill(file):
        for i, data in enumerate(step_frames()):
            file[pattern.format(i)] = data

    return fill


def per_event(pattern):
    def fill(file):
        for i, data in enumerate(step_frames()):
            for j, one in enumerate(data):
                file[pattern.format(i, j)] = one

    return fill


FORMS = {
    "detector in steps": (per_step("detectorData/step{}/epixM"), "epixM"),
    "steps in detector": (per_step("detectorData/epixM/{}"), "epixM"),
    "named steps without detector": (per_step("detectorData/step{}"), "frames"),
    "numbers without detector": (per_step("detectorData/{}"), "frames"),
    "steps at the root": (per_step("Step_{}"), "frames"),
    "numbers at the root": (per_step("{}"), "frames"),
    "events in steps": (per_event("detectorData/step{}/{}"), "frames"),
    "named events in steps": (per_event("detectorData/{}/event{}"), "frames"),
    "events of detectors": (per_event("detectorData/step{}/epixM/{}"), "epixM"),
    "events in steps of detectors": (per_event("detectorData/epixM/{}/{}"), "epixM"),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_frames_in_dicts(opened, form):
    fill, name = FORMS[form]
    run = opened(fill)
    assert list(run.detectors) == [name]
    frames = run.frames()
    np.testing.assert_array_equal(frames.step, np.repeat([0, 1, 2], COUNTS))
    for chunk_size in ("1B", "128MiB"):
        frames = run.frames(chunk_size=chunk_size)
        np.testing.assert_array_equal(frames[:, 0], np.concatenate(step_frames()))
    part = run.frames(modules=[1], roi=np.s_[1:4, 2:3])
    want = np.concatenate(step_frames())[:, 1:, 1:4, 2:3]
    np.testing.assert_array_equal(part[:, 0], want)
    some = run.select_trains(np.s_[3:7]).frames()
    np.testing.assert_array_equal(some[:, 0], np.concatenate(step_frames())[3:7])
    if form.startswith(("events", "named events")):
        with pytest.raises(xf.InconsistentDataError, match="layout='train'"):
            run.frames(layout="step")
        return
    by_step = run.frames(layout="list")
    for got, want in zip(by_step, step_frames(), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("place", ["detectorData", "detectorData/epixM", "frames"])
def test_frames_with_an_axis_of_steps(opened, place):
    data = np.stack([f[:2] for f in step_frames()])
    run = opened(lambda file: file.create_dataset(place, data=data))
    assert run.frames().shape == (6, 1, *ENTRY)
    np.testing.assert_array_equal(run.frames()[:, 0], data.reshape(6, *ENTRY))
    np.testing.assert_array_equal(run.frames(layout="step"), data)


def test_padding_of_an_axis_of_events_is_left_out(opened):
    def fill(file):
        file["detectorData/epixM"] = padded(step_frames(), np.nan)
        file["detectorData/timestamp"] = padded([np.arange(n) for n in COUNTS], -1)
        file["ancillaryData/nEvents"] = COUNTS
        file["ancillaryData/delay"] = [0.5, 1.0, 1.5]

    run = opened(fill)
    np.testing.assert_array_equal(run.frames()[:, 0], np.concatenate(step_frames()))
    found = run.scalars(["timestamp", "delay"])
    np.testing.assert_array_equal(found.timestamp, [0, 1, 2, 3, 0, 1, 0, 1, 2])
    np.testing.assert_array_equal(found.delay, np.repeat([0.5, 1.0, 1.5], COUNTS))
    np.testing.assert_array_equal(run.steps.step_value, [0.5, 1.0, 1.5])


def test_one_step_without_an_axis_of_steps(opened):
    def fill(file):
        file["detectorData/epixM"] = step_frames()[0]
        file["detectorData/timestamp"] = np.arange(4) + 100
        file["ancillaryData/delay"] = [2.5]

    run = opened(fill)
    np.testing.assert_array_equal(run.frames()[:, 0], step_frames()[0])
    np.testing.assert_array_equal(
        run.scalars("timestamp").timestamp, np.arange(4) + 100
    )
    np.testing.assert_array_equal(run.scalars("delay").delay, [2.5] * 4)


def delays_per_step(file, pattern):
    for i in range(3):
        file[pattern.format(i)] = 0.5 * i


def delays_per_event(file, pattern):
    for i, n in enumerate(COUNTS):
        for j in range(n):
            file[pattern.format(i, j)] = 0.5 * i


@pytest.mark.parametrize(
    ("fill", "pattern"),
    [
        (delays_per_step, "ancillaryData/delay/{}"),
        (delays_per_step, "ancillaryData/delay/step{}"),
        (delays_per_step, "ancillaryData/{}"),
        (delays_per_step, "ancillaryData/step{}/delay"),
        (delays_per_event, "ancillaryData/delay/{}/{}"),
        (delays_per_event, "ancillaryData/delay/step{}/event{}"),
        (delays_per_event, "ancillaryData/{}/{}"),
        (delays_per_event, "ancillaryData/step{}/delay/{}"),
    ],
)
def test_ancillary_values_in_dicts(opened, fill, pattern):
    def both(file):
        per_step("detectorData/step{}/epixM")(file)
        fill(file, pattern)

    run = opened(both)
    np.testing.assert_array_equal(
        run.scalars("delay").delay, np.repeat([0, 0.5, 1], COUNTS)
    )
    np.testing.assert_array_equal(run.steps.step_value, [0, 0.5, 1])
    np.testing.assert_array_equal(
        run.frames().step_value, np.repeat([0, 0.5, 1], COUNTS)
    )


def test_events_without_a_value_are_gaps(opened):
    def fill(file):
        per_step("detectorData/step{}/epixM")(file)
        for i, n in enumerate(COUNTS):
            for j in range(1, n):
                file[f"detectorData/step{i}/wave8/{j}"] = np.array([i, j])

    found = opened(fill).scalars("wave8").wave8
    assert found.shape == (TOTAL, 2)
    first = np.array([0, 4, 6])
    assert np.isnan(found[first]).all()
    np.testing.assert_array_equal(np.delete(found[:, 1], first), [1, 2, 3, 1, 1, 2])


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("ancillaryData/delay/1/7", (), "8 values of delay for the 2"),
        ("ancillaryData/delay/0/event1", (), "event twice"),
        ("ancillaryData/delay/0/9", (3,), "different shapes"),
        ("ancillaryData/delay/0/x", (), "wanted values of steps"),
        ("ancillaryData/nothing/x", (), "wanted values of steps"),
        ("detectorData/other/x", (), "is no step"),
    ],
)
def test_what_contradicts_itself(opened, name, shape, message):
    def fill(file):
        per_step("detectorData/step{}/epixM")(file)
        delays_per_event(file, "ancillaryData/delay/{}/{}")
        file[name] = np.zeros(shape)

    with pytest.raises(xf.InconsistentDataError, match=message):
        opened(fill)


@pytest.mark.parametrize("place", ["frames", "detectorData", "detectorData/epixM"])
def test_frames_of_nan_at_the_end_of_a_step_are_padding(opened, place):
    data = padded(step_frames(), np.nan)
    data[0, 1] = np.nan  # a lost frame in between is no padding

    def fill(file):
        file[place] = data
        if place == "frames":
            file["timestamp"] = padded([np.arange(n) for n in COUNTS], -1)

    run = opened(fill)
    np.testing.assert_array_equal(run.steps.n_events, COUNTS)
    want = np.concatenate([d[:n] for d, n in zip(data, COUNTS, strict=True)])
    np.testing.assert_array_equal(run.frames()[:, 0], want)
    by_step = run.frames(layout="step")
    np.testing.assert_array_equal(by_step, data)
    if place == "frames":
        got = run.scalars("timestamp").timestamp
        np.testing.assert_array_equal(got, [0, 1, 2, 3, 0, 1, 0, 1, 2])


def test_one_channel_of_a_secondary_detector(opened):
    waves = [np.arange(n * 8).reshape(n, 8) for n in COUNTS]

    def fill(file):
        per_step("detectorData/step{}/epixM")(file)
        for i, wave in enumerate(waves):
            file[f"detectorData/step{i}/wave8"] = wave

    run = opened(fill)
    got = run.scalars(["wave8[3]"])["wave8[3]"]
    np.testing.assert_array_equal(got, np.concatenate(waves)[:, 3])
    for name in ("wave8[8]", "wave8[0,1]"):
        with pytest.raises(xf.SourceNameError, match="shape \\(8,\\) per event"):
            run.scalars(name)
