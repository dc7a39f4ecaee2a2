"""What several sets of sequences are made with; the sets themselves, one a file, are the room above."""
