"""Raw detector words to calibrated signal: gains, pedestals, darks, photons."""
