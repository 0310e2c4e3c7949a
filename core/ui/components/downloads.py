"""Downloads: made on request, and refused to people who may no longer see the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from core.services.access.actors import require
from core.text.reasons import in_words
from core.ui.context import running
from core.ui.shared import workspace


def recheck_on_download(make: Callable[[], bytes]) -> Callable[[], bytes]:
    """The same, but refused to a person who has been removed or signed out since the page was drawn."""
    ws, actor = workspace(), getattr(running, "actor", None)

    def made() -> bytes:
        require(ws, actor, "viewer")
        return make()

    return made


def download_later(help: str, name: str, make: Callable[[], bytes], *, label: str = "") -> None:
    """A download that is made on request, and only for somebody who may still see the page."""
    st.download_button(
        label or " ",
        data=recheck_on_download(make),
        file_name=name,
        icon=":material/download:",
        help=help,
        key=f"download-{name}-{help}",
        on_click="ignore",
    )


def download_table(
    help: str,
    name: str,
    rows: Sequence[Mapping[str, Any]] | Callable[[], Sequence[Mapping[str, Any]]],
    *,
    label: str = "",
) -> None:
    """Rows as a CSV file; a function is called when the file is requested."""
    download_later(help, name, lambda: as_csv(rows() if callable(rows) else rows), label=label)


def download_json(help: str, name: str, document: Any, *, label: str = "") -> None:
    """A record or document as a JSON file."""
    made = lambda: json.dumps(in_words(document), indent=2, ensure_ascii=False).encode()  # noqa: E731
    download_later(help, name, made, label=label)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as CSV, by the one writer of downloads; a row without a column leaves it empty."""
    import pandas as pd

    from core.data.files import write_csv

    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: pd.Series([_cell(row.get(name)) for row in rows], dtype=object) for name in names}
    return write_csv(pd.DataFrame(cells, columns=names))


def _cell(value: Any) -> Any:
    """A value as a cell; lists and dicts as JSON."""
    cell = in_words(value)
    return json.dumps(cell, ensure_ascii=False) if isinstance(cell, (list, dict)) else cell
