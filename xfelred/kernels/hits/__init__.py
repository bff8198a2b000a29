"""Lit pixels and peaks of frames."""
