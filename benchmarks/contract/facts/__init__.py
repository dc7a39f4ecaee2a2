"""What is known of data sets, tasks, metrics, kinds of trial and devices, as data."""
