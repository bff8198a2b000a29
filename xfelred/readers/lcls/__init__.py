"""LCLS: small data, the calibration suite, and psana2 behind one reader."""
