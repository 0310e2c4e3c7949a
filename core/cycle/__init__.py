"""One cycle of the loop: lease, seal, read, measure, decide, race, verdict, audit row, notices.

The one place where the steps meet; `core.cycle.run` runs them in order. Everything that a cycle changes is committed
in one transaction at its end: a process that dies in the middle leaves champion, evidence and watermarks unchanged.
"""

from core.cycle.failing import cause_of
from core.cycle.learner_state import fits_left_running
from core.cycle.live import advance_live
from core.cycle.records import Watcher
from core.cycle.run import run_cycle

__all__ = ["Watcher", "advance_live", "cause_of", "fits_left_running", "run_cycle"]
