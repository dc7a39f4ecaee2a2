"""Studies: one side question each, with its measurement, its record and its report in one room."""

TRANSFORMS = "transforms"  # the study's folder in the results
