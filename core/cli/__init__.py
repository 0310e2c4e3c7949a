"""The command line: `python -m core.cli`. Exit 0 = done, 1 = failed, 2 = usage; with --json one document on stdout.

Only translates between a person and the services. A module a noun declares each command beside the function that does it.
"""

from core.cli.main import main

__all__ = ["main"]
