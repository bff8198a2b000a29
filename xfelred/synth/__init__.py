"""Simulated runs in the file layout of each facility, with known truth."""
