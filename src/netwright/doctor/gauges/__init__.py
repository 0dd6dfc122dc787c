"""What the doctor measures; each gauge is a function of a subject, or of plain arrays."""
