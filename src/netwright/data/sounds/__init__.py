"""Recordings: the WAVE format, rates, what file names say, log-mel features, and the encoder fitted on them."""
