"""The tasks that an encoder is fine-tuned on: their files, scores and baselines."""
