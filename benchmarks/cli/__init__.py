"""The command line: verbs, their flags, and what they say at the end."""
