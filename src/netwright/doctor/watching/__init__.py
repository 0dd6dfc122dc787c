"""The parts of the watch: where it listens, what it writes down, what it reads from that."""
