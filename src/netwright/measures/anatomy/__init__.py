"""The anatomy of a network: one example goes through it, watched, and every layer is counted."""

from netwright.measures.anatomy.whole import Anatomy, anatomy, observed

__all__ = ["Anatomy", "anatomy", "observed"]
