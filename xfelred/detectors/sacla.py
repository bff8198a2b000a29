"""The MPCCD of SACLA, and how its modules are named (the facility's DataConvert)."""

from __future__ import annotations

import re

from xfelred.detectors.description import Detector, Segment

# A sensor is taken to be read through 8 ports of 64 columns.
MPCCD = Detector(
    "mpccd",
    "sacla",
    segment=Segment((1024, 512), 8, 1),
    pitch=(50e-6, 50e-6),
    camera=True,
)
DETECTORS = (MPCCD,)

# MPCCD-<sensors>[variant]-<place>-<serial>[-<module>], such as MPCCD-8-2-002-3.
SENSORS = re.compile(r"MPCCD-(\d)\w*-")
LAST_NUMBER = re.compile(r"(.+)-(\d)")
PARTS = 5  # of a name that ends with the number of a module
FORMS = {1: "single", 2: "dual", 8: "octal"}  # by the number of sensors
