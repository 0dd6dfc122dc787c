"""Using a trained network: predictions."""
