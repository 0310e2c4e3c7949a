"""The command line: `python -m core.cli`. Exit 0 = done, 1 = failed, 2 = usage; with --json one document on stdout.

It translates between a person and the services, nothing else. There is one module per noun, which declares each command beside the function that runs it.
"""

from core.cli.main import main

__all__ = ["main"]
