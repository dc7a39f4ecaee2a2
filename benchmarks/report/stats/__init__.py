"""How sure a number is: intervals, tests, pooled effects."""
