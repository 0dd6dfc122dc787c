"""Seeing inside a trained network on one's own input: gates over time, attention, saliency, gradients over time."""
