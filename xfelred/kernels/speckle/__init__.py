"""Photon counts and correlations of speckle patterns."""
