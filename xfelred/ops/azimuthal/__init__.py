"""Frames to curves over q and the azimuthal angle."""
