"""Frames on a grid of radius and angle, and rings of it."""
