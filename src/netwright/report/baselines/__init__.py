"""What simple methods reach on the same split: the scores that a network has to beat, a file for each kind."""
