"""Lazy labelled arrays for X-ray free-electron-laser detector data."""

__version__ = "0.1.0"
