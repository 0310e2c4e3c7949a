"""The former name of `core.cycle`, for `core.cli`: what a test replaces here is replaced for the command line only."""

from core.cycle import advance_live, cause_of, fits_left_running, run_cycle

__all__ = ["advance_live", "cause_of", "fits_left_running", "run_cycle"]
