"""Music: ABC tunes, piano rolls, and Standard MIDI Files."""
