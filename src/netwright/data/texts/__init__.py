"""Texts: which form a place holds, tokens, and what a network reads of them."""
