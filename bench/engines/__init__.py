"""Engines drive a strategy's plan and emit events. Each is one file; a new one touches no core file."""
