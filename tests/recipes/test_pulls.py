"""The difference signal of a cube against the truth of simulated runs, in its errors.

Pulls, (found - true) / error, have mean 0 and width 1 if value and error are right.
Each frame is divided by its intensity first: else all pixels fluctuate together, and
the pulls of pixels say no more than one of them.
"""

import numpy as np
import pytest
from scipy.stats import chi2

import xfelred as xf
from xfelred import ops
from xfelred.synth.lcls import write_smalldata

DELAYS = tuple((0.25 * np.arange(-4, 13)).tolist())
RECIPE = """
schema_version: 1
kind: cube
bins:
  delay: {start: "-1.125 ps", stop: "3.125 ps", step: "250 fs"}
laser: split
filters:
  good: [lightStatus/xray == 1, 1000 < ipm2/sum < 60000, 0.02 < tt/AMPL < 0.12]
detectors:
  jungfrau1M: {}
"""
N_SIGMA = 5  # of the statistical limits; a right result fails once in 2e6


class Signal:
    """On - off in every bin, as found and as simulated."""

    def __init__(self, path, seed):
        self.truth = truth = write_smalldata(
            path, seed=seed, n_events=3000, shape=(2, 16, 24), delays=DELAYS,
            off_every=2, jitter=0.1, tt_noise=0.01, rise=0.4, noise=1.0, i0_noise=0.0,
            i0_jitter=0.1, bad_pixels=0.0, droplets=0.0,
        )  # fmt: skip
        run = xf.open_run(path)
        i0 = run.scalars("ipm2/sum")["ipm2/sum"] / truth.config.i0_mean
        frames = ops.normalize(run.frames("jungfrau1M", bad_pixels="keep"), by=i0)
        recipe = xf.CubeRecipe.from_text(RECIPE)
        cube = xf.make_cube(run, recipe, frames={"jungfrau1M": frames}).compute()
        on, off = cube.sel(laser_on=True), cube.sel(laser_on=False)
        both = ops.subtract(on, off)
        self.value = both["jungfrau1M_mean"].values
        self.error = both["jungfrau1M_sem"].values
        self.n_on = on["n_shots"].values
        self.n_least = int(min(on["n_shots"].min(), off["n_shots"].min()))
        self.bin = self.bins_of_shots(cube["delay_edges"].values)

    def bins_of_shots(self, edges):
        """The bin of every shot with laser that passes, found without the package."""
        shots = self.truth.shots
        good = shots.laser_on & shots.xray_on & shots.has_image & (shots.ipm2 > 1000)
        good &= shots.tt_correction != 0  # where it fails the amplitude is small
        delay = shots.nominal + shots.tt_correction
        at = np.searchsorted(edges, delay, side="right") - 1
        return np.where(good & (delay >= edges[0]) & (delay < edges[-1]), at, -1)

    def expected(self, of_delay=lambda delay: delay):
        """True change in every bin: the mean over its shots."""
        truth = self.truth
        return np.stack([
            truth.difference(of_delay(truth.delay[self.bin == k])).mean(axis=0)
            for k in range(len(self.n_on))
        ])  # fmt: skip

    def pulls(self, expected):
        return (self.value - expected) / self.error

    def amplitude_pulls(self, expected):
        """One pull for each bin: of the height of the pattern that is expected."""
        shape, weight = self.truth.difference(1.0), self.error**-2.0
        pixels = (1, 2, 3)
        norm = (shape**2 * weight).sum(axis=pixels)
        return ((self.value - expected) * shape * weight).sum(axis=pixels) / norm**0.5


@pytest.fixture(scope="module", params=[1, 2, 3])
def signal(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("pulls")
    return Signal(place / f"xpptest01_Run000{request.param}.h5", request.param)


def mean_is_0_and_width_is_1(pulls, n_least):
    """Whether it is so, within the limits for so many independent values.

    Errors come from n shots in either state: pulls follow Student's t with n - 1 to
    2 n - 2 degrees of freedom, and are wider than 1 by 1 / (2 (n - 1)) at most.
    """
    n = pulls.size
    mean_is_0 = abs(pulls.mean()) < N_SIGMA / n**0.5
    narrow = 1 - N_SIGMA / (2 * n) ** 0.5
    wide = 1 + N_SIGMA / (2 * n) ** 0.5 + 0.5 / (n_least - 1)
    return mean_is_0 and narrow < pulls.std() < wide


def fits(pulls):
    """Whether a sum of squares is neither too large nor too small to be chance."""
    chance = chi2.cdf((pulls**2).sum(), pulls.size)
    return 1e-5 < chance < 1 - 1e-5


def test_cube_has_the_shots_that_were_simulated(signal):
    found = np.bincount(signal.bin[signal.bin >= 0], minlength=len(signal.n_on))
    np.testing.assert_array_equal(signal.n_on, found)
    assert signal.n_least > 40


def test_difference_is_the_truth_within_its_errors(signal):
    expected = signal.expected()
    assert mean_is_0_and_width_is_1(signal.pulls(expected), signal.n_least)
    assert fits(signal.amplitude_pulls(expected))
    # The signal is there: some pixels are far from nothing.
    assert abs(signal.pulls(0 * expected)).max() > 7


@pytest.mark.parametrize(
    "wrong",
    {
        "sign of the difference": lambda s: -s.expected(),
        "nothing": lambda s: 0 * s.expected(),
        "height": lambda s: 1.1 * s.expected(),
        "sign of the delay": lambda s: s.expected(lambda delay: -delay),
        "60 fs late": lambda s: s.expected(lambda delay: delay + 0.06),
        "60 fs early": lambda s: s.expected(lambda delay: delay - 0.06),
        "one bin off": lambda s: np.roll(s.expected(), 1, axis=0),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_wrong_truth_does_not_fit(signal, wrong):
    assert not fits(signal.amplitude_pulls(wrong[1](signal)))


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_wrong_errors_do_not_fit(signal, factor):
    pulls = signal.pulls(signal.expected()) / factor
    assert not mean_is_0_and_width_is_1(pulls, signal.n_least)


def test_a_difference_that_is_wrong_everywhere_does_not_fit(signal):
    for wrong in (-signal.expected(), 0 * signal.expected()):
        assert not mean_is_0_and_width_is_1(signal.pulls(wrong), signal.n_least)
