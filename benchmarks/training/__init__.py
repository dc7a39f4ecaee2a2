"""Training: the one recipe, its step, its checkpoints and its weights."""
