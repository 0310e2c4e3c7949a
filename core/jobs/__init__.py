"""Processes around the loop: the runner of `make run`, and the worker that the scheduler starts, Prefect as another clock."""

ANOTHER_WORKS = 75  # exit code of a worker that found another one at work on its state folder
MAY_PASS = 76  # exit code of a single check that failed and may succeed when it is tried again
