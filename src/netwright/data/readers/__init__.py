"""One file per format: recognise it, and read it into a `Source`."""
