"""Sweepmark: what a hyperparameter search costs, measured."""

__version__ = "0.1.0"
