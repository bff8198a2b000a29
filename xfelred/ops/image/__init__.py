"""Frames as images: assembling, regions, clusters, bad pixels."""
