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
GAIN_RANGE = "gain_range"
GAIN_FACTOR = "gain_factor"  # multiplies a signal, where a gain divides it
PIXEL_DIMS = (MODULE, SLOW, FAST)

# Dimensions of results.
Y = "y"
X = "x"
Q = "q"
PHI = "phi"
RADIUS = "radius"
LAG = "lag"
COS_PSI = "cos_psi"
PAIR = "pair"
MEMBER = "member"
GROUP = "group"
BIN = "bin"
QUANTITY = "quantity"
ENTRY = "entry"
DROPLET = "droplet"
PHOTON = "photon"
CLUSTER = "cluster"
PEAK = "peak"
PIXEL = "pixel"
SAMPLE = "sample"  # of a trace

# Coordinates that travel with a detector array.
CELL = "cell"
AVAILABLE = "available"
RECORDED = "recorded"
N_PULSES = "n_pulses"
BAD_PIXELS = "bad_pixels"
BAD_IN_MASK = "bad_in_mask"  # of those, what a mask without calibration knows
TWO_THETA = "two_theta"
SOLID_ANGLE = "solid_angle"
POLARIZATION = "polarization"
ABSOLUTE_GAIN = "absolute_gain"
REFERENCE_GAIN = "reference_gain"

# Coordinates that tell shots from each other.
SHUTTER_OPEN = "shutter_open"
SHUTTER_KNOWN = "shutter_known"
BEAM = "beam"
LASER_ON = "laser_on"
PHOTON_ENERGY = "photon_energy"
PHOTON_ENERGY_OK = "photon_energy_ok"
DETECTOR_STATUS = "detector_status"
IN_EVENT_TABLE = "in_event_table"
TIME = "time"
FIDUCIALS = "fiducials"
STEP = "step"
EVENT = "event"
STEP_VALUE = "step_value"

# Attributes.
UNITS = "units"
LONG_NAME = "long_name"
HISTORY = "history"
FINGERPRINT = "source_fingerprint"
STORED_DTYPE = "stored_dtype"  # of integers that are floating because of gaps
DATA_KIND = "data_kind"
MAX_ERROR = "max_error"  # by which values were rounded
RECORDED_BY = "recorded_by"  # the coordinate that tells where integers were recorded
N_MODULES = "n_modules"  # of the complete detector
FIRST_MODULE = "first_module"  # number of the first of them
OF_DATA = (DATA_KIND, N_MODULES, FIRST_MODULE)  # stay with every result on pixels
VERSION = "xfelred_version"


def recorded_name(name: str) -> str:
    """Return the coordinate that tells where integers without a NaN were recorded."""
    return f"{name}_{RECORDED}"
