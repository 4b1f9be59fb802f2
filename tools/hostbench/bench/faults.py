"""What goes wrong with a host, one at a time."""

FAULTS = {}
