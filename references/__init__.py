"""Comparisons with other libraries' networks, in an environment of their own (`make references`)."""
