"""The command `xfelred`."""
