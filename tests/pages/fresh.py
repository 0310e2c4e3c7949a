"""Opens page files in a process of their own and prints what each shows as JSON. CONTINUAL_HOME says over what.

`python tests/pages/fresh.py FILE...`: as a stranger, each in a fork of a process that has run none yet. Until some run
has called `st.navigation` Streamlit runs a page's file alone, so only a process that has run nothing tells the truth.

`python tests/pages/fresh.py --as NAME@EPOCH FILE...`: signed in, one after the other in one process.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from patience import limit
from streamlit.testing.v1 import AppTest

from core import ui
from core.services.access import accounts

HEAVY = ("sklearn", "mlflow", "scipy")


def shown(file: str, person: str | None) -> dict[str, Any]:
    """What stands on the page, and which heavy libraries it has loaded."""
    at = AppTest.from_file(file, default_timeout=limit(60))
    if person:
        user = accounts.get_user(ui.workspace(), person)
        assert user is not None
        at.session_state["username"] = f"{user.uid}@{user.epoch}"
    at.run()
    return {
        "inputs": [i.label for i in at.text_input],
        "buttons": [b.label for b in at.button],
        "titles": [t.value for t in at.title],
        "sidebar": len(at.sidebar.children),
        "kinds": sorted({element.type for element in at.main}),
        "text": json.dumps([str(getattr(e, "value", "")) for e in [*at.main, *at.sidebar]]),
        "errors": [e.value for e in at.exception],
        "heavy": [name for name in HEAVY if name in sys.modules],
    }


def in_a_fork(file: str) -> Any:
    """What a process that has run no page shows a stranger; None when it failed."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            with os.fdopen(writing, "w") as sink:
                json.dump(shown(file, None), sink)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as source:
        found = json.loads(source.read() or "null")
    os.wait()
    return found


def main(arguments: list[str]) -> None:
    if arguments[0] == "--as":
        found = {file: shown(file, arguments[1]) for file in arguments[2:]}
    else:
        found = {file: in_a_fork(file) for file in arguments}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
