"""Processes around the loop: the runner of `make run`, the worker that the scheduler starts, and Prefect as an alternative scheduler."""

ANOTHER_WORKS = 75  # exit code of a worker when another one already runs on its state folder
MAY_PASS = 76  # exit code of a single check that failed and may succeed when retried
