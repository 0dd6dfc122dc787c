"""What a network measures: shapes, parameters, multiply-adds, neurons, connections, receptive fields."""
