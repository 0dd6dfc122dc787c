"""Parts: functions and classes of the catalogue, one family a file."""
