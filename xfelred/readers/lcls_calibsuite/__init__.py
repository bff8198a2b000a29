"""Files of the LCLS calibration suite: flat arrays, or nested by step."""
