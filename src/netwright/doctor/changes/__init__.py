"""What a branch of a trial changes: each knows how code is changed in place, and which patch of a recipe it is."""
