"""Data: sources, splits, encoders, and what was found odd on the way."""
