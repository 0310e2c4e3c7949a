"""The frame of every page: sign-in, navigation, project switcher, and the building blocks of pages.

The only package of core that imports Streamlit. `start_page` is the first statement of every page: it draws nothing but
the sign-in until somebody is signed in, whichever address was requested. How numbers are written comes from `core.words`.
"""

from core.text.reasons import sentence
from core.text.scores import interval_text, score_state
from core.ui.account import ask_proof
from core.ui.components.actions import button, change, confirm, confirm_with_reason, submit
from core.ui.components.cards import card, empty, grid, head_row, no_project, summary, tile, tiles
from core.ui.components.charts import chart, charted, line, measured, score_alt, score_finding
from core.ui.components.choices import choose_project, chosen
from core.ui.components.downloads import download_json, download_later, download_table, recheck_on_download
from core.ui.components.facts import clauses, pairs
from core.ui.components.feedback import attempt, error_box, note_storage, toast_next
from core.ui.components.forms import Field, fields
from core.ui.components.jobs import follow_job, request_backtest, request_cycle
from core.ui.components.presses import at_work, pressed, still_pressed, submitted
from core.ui.components.tables import Start, moment, page_of, pick, table, whole
from core.ui.components.uploads import ROWS_FILE, computed_once, on_disk, upload
from core.ui.context import Context, when
from core.ui.navigation import page_path
from core.ui.page import recheck_access, run_app, start_page
from core.ui.shared import champions, served, workspace
from core.words import count, counted, interval, metric_label, plain, points, score, seconds, share

__all__ = [
    "ROWS_FILE",
    "Context",
    "Field",
    "Start",
    "ask_proof",
    "at_work",
    "attempt",
    "button",
    "card",
    "champions",
    "change",
    "chart",
    "charted",
    "choose_project",
    "chosen",
    "clauses",
    "computed_once",
    "confirm",
    "confirm_with_reason",
    "count",
    "counted",
    "download_json",
    "download_later",
    "download_table",
    "empty",
    "error_box",
    "fields",
    "follow_job",
    "grid",
    "head_row",
    "interval",
    "interval_text",
    "line",
    "measured",
    "metric_label",
    "moment",
    "no_project",
    "note_storage",
    "on_disk",
    "page_of",
    "page_path",
    "pairs",
    "pick",
    "plain",
    "points",
    "pressed",
    "recheck_access",
    "recheck_on_download",
    "request_backtest",
    "request_cycle",
    "run_app",
    "score",
    "score_alt",
    "score_finding",
    "score_state",
    "seconds",
    "sentence",
    "served",
    "share",
    "start_page",
    "still_pressed",
    "submit",
    "submitted",
    "summary",
    "table",
    "tile",
    "tiles",
    "toast_next",
    "upload",
    "when",
    "whole",
    "workspace",
]
