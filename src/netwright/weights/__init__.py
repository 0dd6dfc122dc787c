"""Published weights: a restricted reader for foreign checkpoints, key maps, loading, and freezing."""
