"""Angular correlations of rings and of pairs of shots."""
