"""Tables of a group of records, and their files."""
