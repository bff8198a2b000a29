"""Sums over frames that become means, variances, bins and fits."""
