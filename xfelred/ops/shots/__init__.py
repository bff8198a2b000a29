"""Shots: cuts, delays and neighbours."""
