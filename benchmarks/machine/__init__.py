"""The machine: its device and clock, memory, and the operations that run."""
