"""Outlines of pixels: their spread, their parts in bins."""
