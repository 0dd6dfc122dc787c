"""The cache of decoded data: made once, verified before use, bounded, never needed."""
