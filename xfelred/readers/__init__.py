"""Files of each facility as labelled lazy arrays."""
