"""Centre and radius of powder rings."""
