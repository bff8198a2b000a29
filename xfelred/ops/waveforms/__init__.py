"""Traces of digitizers: integrals, hits and fits."""
