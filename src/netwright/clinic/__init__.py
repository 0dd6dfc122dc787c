"""Diagnoses runs, recipes and data, and proves remedies by paired trainings."""
