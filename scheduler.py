"""The scheduler as a separate process next to app and API; see `core.jobs.clock`."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from core.errors import ContinualError
from core.jobs.clock import stand_by
from core.jobs.stop import Stop
from core.logs import set_up_logs
from core.settings import get_settings
from core.storage.workspace import open_workspace


def main() -> int:
    """Run until SIGTERM or SIGINT."""
    stop = Stop()

    def _stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        settings = get_settings()
        set_up_logs(settings, "scheduler")
        ws = open_workspace(settings, migrate=True)
    except ContinualError as error:
        sys.exit(str(error))
    stand_by(ws, stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
