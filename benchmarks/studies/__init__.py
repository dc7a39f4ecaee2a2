"""Studies: one side question each, with its measurement, its record and its report in one room."""
