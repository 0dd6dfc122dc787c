"""Training: the loop, its state, checkpoints, and when to stop."""
