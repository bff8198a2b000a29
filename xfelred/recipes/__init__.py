"""Declarative files that say what to make of a run, and the producers that do it."""
