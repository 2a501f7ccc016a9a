"""Where a long computation runs."""
