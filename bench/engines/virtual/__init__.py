"""The virtual engine: a strategy's own searcher and scheduler on recorded curves, in virtual time."""
