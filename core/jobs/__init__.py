"""Processes around the loop: the runner of `make run`, and the worker that the scheduler starts."""

ANOTHER_WORKS = 75  # exit code of a worker that found another one at work on its state folder
