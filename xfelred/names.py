"""The one place where dimension, coordinate and attribute names are spelled."""

from __future__ import annotations

# Dimensions of a detector array, in the order of the data model.
TRAIN = "train"
PULSE = "pulse"
GAIN = "gain"
MODULE = "module"
DATA_GAIN = "data_gain"
SLOW = "slow_scan"
FAST = "fast_scan"
FRAME = "frame"
PIXEL_DIMS = (MODULE, SLOW, FAST)

# Dimensions of results.
Y = "y"
X = "x"
Q = "q"
PHI = "phi"

# Coordinates that travel with a detector array.
CELL = "cell"
AVAILABLE = "available"
RECORDED = "recorded"
N_PULSES = "n_pulses"
BAD_PIXELS = "bad_pixels"
TWO_THETA = "two_theta"
SOLID_ANGLE = "solid_angle"
POLARIZATION = "polarization"

# Attributes.
UNITS = "units"
LONG_NAME = "long_name"
HISTORY = "history"
FINGERPRINT = "source_fingerprint"
VERSION = "xfelred_version"
