"""Image classification: the task, its data sets, one a file, and where a user's own images come from."""

from benchmarks.tasks.images import common  # noqa: F401, which registers the task
