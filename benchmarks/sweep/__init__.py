"""Runs many trials: side by side, in processes of their own, with a budget, and what they say meanwhile."""
