"""Pictures: headers first, then pixels, under budgets."""
