"""What nets are trained on: one file a task or family of data sets."""
