"""The token mixers, a family a file."""
