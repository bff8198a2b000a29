"""Runs of LCLS-II xtc2 files, read through psana2."""
