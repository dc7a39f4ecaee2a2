"""Text encoders: pre-training and tasks as tables and plots, beside published figures."""
