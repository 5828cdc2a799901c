"""The regression gate: losses and device-minutes of runs against references, exactly or beyond noise."""
