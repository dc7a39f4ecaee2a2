"""From what was asked for to the list of trials."""
