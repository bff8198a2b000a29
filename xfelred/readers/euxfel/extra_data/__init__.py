"""Names of EXtra-data that scripts of the facility use, and nothing of our own."""

__all__ = []
