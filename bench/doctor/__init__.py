"""Pre-flight: what would stop a run on this machine or this cluster, found before a device is held for it."""
