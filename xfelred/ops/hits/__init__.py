"""Which frames are hits: lit pixels and peaks."""
