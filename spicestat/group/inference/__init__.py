"""From estimates to tests, adjusted p-values and intervals."""
