"""What the literature says, as data, and how records decide it."""
