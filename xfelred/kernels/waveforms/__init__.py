"""Kernels for traces of digitizers."""
