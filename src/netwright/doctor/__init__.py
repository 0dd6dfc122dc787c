"""The doctor: what is wrong with a network, with numbers."""
