"""Time series: how a table over time is recognised, put on an even grid, and cut into windows without look-ahead."""
