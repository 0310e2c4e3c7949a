"""Loguru's sinks, added once per process: coloured lines for people, JSON lines for machines.

Everything that libraries write through the standard logging module goes the same way. No sink shows local
variables (`diagnose=False`), and known secrets are masked before a line leaves the process.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from loguru import logger

if TYPE_CHECKING:
    from loguru import Record

    from core.settings import Settings

_secrets: tuple[str, ...] = ()
_CONTEXT = ("project", "cycle", "job", "request")
_FIELDS = "{time:HH:mm:ss} {level: <7} {extra[process]: <9} {message}{extra[_context]}"


class _ToLoguru(logging.Handler):
    """Hands a standard record to loguru with the level and the place it is from."""

    def emit(self, record: logging.LogRecord) -> None:
        level: str | int
        try:
            level = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        frame, depth = logging.currentframe(), 2
        while frame.f_back and frame.f_code.co_filename == logging.__file__:
            frame, depth = frame.f_back, depth + 1
        logger.opt(depth=depth, exception=record.exc_info).log(level, "{}", record.getMessage())


def _mask(record: Record) -> None:
    for secret in _secrets:
        if secret in record["message"]:
            record["message"] = record["message"].replace(secret, "***")
    shown = {k: v for k, v in record["extra"].items() if k in _CONTEXT}  # others stand in the message already
    record["extra"]["_context"] = "".join(f" {k}={v}" for k, v in shown.items())
    record["extra"].setdefault("process", "-")


def _json_sink(message: Any) -> None:
    record = message.record
    document = {
        "time": record["time"].astimezone().isoformat(),
        "level": record["level"].name.lower(),
        "message": record["message"],
        "logger": record["name"],
        **{k: v for k, v in record["extra"].items() if k != "_context"},
    }
    if record["exception"] is not None:
        document["exception"] = f"{record['exception'].type.__name__}: {record['exception'].value}"
    line = json.dumps(document, default=str, ensure_ascii=False)
    for secret in _secrets:
        line = line.replace(secret, "***")
    sys.stderr.write(line + "\n")


def _text_sink(message: Any) -> None:
    sys.stderr.write(message)  # as it is then: tests and notebooks put another in its place


def set_up_logs(settings: Settings, process: str) -> None:
    """Set the sinks of this process (app, api, scheduler, worker, cli); a second call replaces them."""
    global _secrets
    named = (
        settings.api_key,
        settings.streamlit_password,
        settings.cookie_key,
        settings.discord_webhook_url,
        settings.kuma_push_url,
        settings.database_url_setting,
    )
    _secrets = tuple(s.get_secret_value() for s in named if s is not None and len(s.get_secret_value()) >= 8)
    logger.remove()
    logger.configure(extra={"process": process}, patcher=_mask)
    level = settings.log_level.upper()
    if settings.log_format == "json":
        logger.add(_json_sink, level=level, diagnose=False, backtrace=False)
    else:
        logger.add(
            _text_sink,
            level=level,
            format=_FIELDS,
            diagnose=False,
            backtrace=False,
            colorize=sys.stderr.isatty() and "NO_COLOR" not in os.environ,
        )
    logging.basicConfig(handlers=[_ToLoguru()], level=logging.INFO, force=True)
    for noisy in ("alembic", "mlflow", "apscheduler", "httpx", "httpcore", "watchdog", "fsevents", "urllib3", "git"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for own in ("uvicorn", "uvicorn.error"):
        logging.getLogger(own).handlers = []
        logging.getLogger(own).propagate = True
