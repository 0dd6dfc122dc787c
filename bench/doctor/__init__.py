"""The doctor's development set: small training programs, healthy and faulty, their checks, and the runner."""
