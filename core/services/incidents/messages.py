"""The kinds of messages in one table, a message as facts, and the one place that formats Discord's embed.

Facts arrive as records; names, numbers and the link are formatted here. Whether and where a message is sent is decided in
`core.services.incidents.notify`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from core import words
from core.errors import BadInput, FieldProblem
from core.records import JsonObject, Score

GREEN, AMBER, RED, BLUE, GREY = 0x0E7C66, 0xA15C00, 0xB3261E, 0x0B5CAD, 0x5F6B76
# Discord's limits of one embed; its sum counts title, description, fields and footer together.
MAX_TITLE, MAX_TEXT, MAX_FIELDS, MAX_NAME, MAX_VALUE, MAX_FOOTER, MAX_SUM = 256, 4096, 25, 256, 1024, 2048, 6000
SHOWN = 5  # feature names in one field
_SIGNS = re.compile(r"([\\`*_~|<>\[\]#])")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of event that people can be notified of."""

    title: str  # title of its messages; {v} is the version concerned
    label: str  # label of its switch
    colour: int
    page: str  # page that its link opens
    default: bool = True
    switch: str | None = None  # the kind whose switch also applies to this one


KINDS: dict[str, Kind] = {
    "promotion": Kind("v{v} promoted", "Promotion", GREEN, "models"),
    "rollback": Kind("rolled back to v{v}", "Rollback", AMBER, "models"),
    "shadow_begun": Kind("v{v} entered shadow mode", "Shadow begun", BLUE, "models"),
    "shadow_ended": Kind("v{v} left shadow mode", "Shadow ended", BLUE, "models"),
    "refused": Kind("challenger v{v} rejected", "Refused challenger", GREY, "automation", default=False),
    "drift": Kind("drift found", "Drift found", AMBER, "drift"),
    "below_threshold": Kind("score worse than the threshold", "Score below the threshold", AMBER, "performance"),
    "failed": Kind("a check failed", "Failed check", RED, "automation"),
    "silent": Kind("the scheduler is not responding", "Silent scheduler", RED, "automation"),
    "back": Kind("the scheduler is running again", "", GREEN, "automation", switch="silent"),
    "attention": Kind("needs attention", "Needs attention", AMBER, "automation"),
}
SWITCHES = tuple(name for name, kind in KINDS.items() if kind.switch is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The figures of a message; missing ones are not shown."""

    version: int | None = None  # version concerned
    before: int | None = None  # champion before and after
    after: int | None = None
    metric: str | None = None
    score: Score | None = None
    threshold: float | None = None
    difference: Score | None = None  # challenger minus champion
    share: float | None = None  # share of drifted features
    share_limit: float | None = None
    drifted: tuple[str, ...] = ()
    rows: int | None = None
    labelled: int | None = None
    by: str | None = None
    silent_s: float | None = None
    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to send."""

    kind: str  # key in KINDS
    text: str = ""  # the reason, as it was recorded
    project: str | None = None  # name; None = the installation
    slug: str | None = None
    cycle: int | None = None
    headline: str | None = None  # replaces the kind's title
    facts: Facts = Facts()


def chosen(document: Mapping[str, Any] | None) -> dict[str, bool]:
    """Which kinds a project sends, from its stored switches: only differences from the default are stored."""
    stored = document or {}
    return {name: bool(stored.get(name, KINDS[name].default)) for name in SWITCHES}


def sends(document: Mapping[str, Any] | None, kind: str) -> bool:
    """Whether a project sends a kind."""
    return chosen(document)[KINDS[kind].switch or kind]


def changed(document: Mapping[str, Any] | None, changes: Mapping[str, bool]) -> dict[str, bool]:
    """What to store after some switches were set.

    Raises:
        BadInput: an unknown kind.
    """
    unknown = [name for name in changes if name not in SWITCHES]
    if unknown:
        problem = FieldProblem("messages", repr(unknown[0][:40]), f"of {', '.join(SWITCHES)}")
        raise BadInput(
            f"There is no kind of message '{unknown[0][:40]}', expected one of {', '.join(SWITCHES)}.", (problem,)
        )
    wanted = {**chosen(document), **changes}
    return {name: on for name, on in wanted.items() if on != KINDS[name].default}


# --- the embed --------------------------------------------------------------------------------------------------


def payload(message: Message, public_url: str | None, at: datetime) -> JsonObject:
    """The body of a webhook call: one embed within Discord's limits, without mentions."""
    kind, facts = KINDS[message.kind], message.facts
    known = kind.title.replace("{v}", str(facts.version) if facts.version is not None else "?")
    what = message.headline or known
    title = f"{message.project}: {what}" if message.project else what[:1].upper() + what[1:]
    footer = "Continual ML" + (f", cycle {message.cycle}" if message.cycle is not None else "")
    address = link(public_url, kind.page, message.slug, message.cycle)
    fields = _fields(facts)
    if address is not None and not _is_linkable(address):
        fields.append(("Open", address))
        address = None
    embed = clipped(_plain(title), _plain(message.text), fields, footer)
    if address is not None and len(address) <= MAX_SUM // 3:
        embed["url"] = address
    return {
        "embeds": [{**embed, "color": kind.colour, "timestamp": at.isoformat()}],
        "allowed_mentions": {"parse": []},
    }


def link(public_url: str | None, page: str, slug: str | None, cycle: int | None = None) -> str | None:
    """The app's page about a project or, on Automation, about a cycle; None if the app's address is not configured."""
    if public_url is None:
        return None
    query: dict[str, str] = {} if slug is None else {"project": slug}
    if cycle is not None and page == "automation":
        query["cycle"] = str(cycle)
    return f"{public_url}/{page}" + (f"?{urlencode(query)}" if query else "")


def _is_linkable(address: str) -> bool:
    """Discord refuses a whole message whose link has a host without a dot, such as localhost."""
    return "." in (urlsplit(address).hostname or "")


def _fields(f: Facts) -> list[tuple[str, str]]:
    """Each figure with its name."""
    figures: list[tuple[str, str]] = []
    if f.score is not None and f.score.value is not None:
        span = words.interval(f.score)
        figures.append((words.metric_label(f.metric or f.score.metric), words.number(f.score.value)))
        if span:
            figures.append((f"95{words.THIN}% interval", span))
        figures.append(("Measured on", words.counted(f.score.n, "labelled row")))
    if f.threshold is not None:
        figures.append(("Threshold", words.number(f.threshold)))
    if f.difference is not None and f.difference.value is not None:
        gap = words.points(f.difference.value, f.difference.metric)
        figures.append(("Challenger minus champion", f"{gap} on {words.counted(f.difference.n, 'row')}"))
    if f.before is not None or f.after is not None:
        names = [words.ABSENT if v is None else f"v{v}" for v in (f.before, f.after)]
        figures.append(("Champion", names[1] if names[0] == names[1] else f"{names[0]} → {names[1]}"))
    if f.share is not None:
        limit = "" if f.share_limit is None else f", limit {words.share(f.share_limit)}"
        figures.append(("Drifted features", words.share(f.share) + limit))
    if f.drifted:
        more = len(f.drifted) - SHOWN
        figures.append(("Which", ", ".join(f.drifted[:SHOWN]) + (f" and {more} more" if more > 0 else "")))
    if f.rows is not None:
        labelled = "" if f.labelled is None else f", {words.count(f.labelled)} newly labelled"
        figures.append(("New rows", words.count(f.rows) + labelled))
    if f.by:
        figures.append(("By", f.by))
    if f.silent_s is not None:
        figures.append(("Silent for", words.seconds(f.silent_s)))
    if f.projects:
        figures.append(("Projects", ", ".join(f.projects)))
    return [(name, _plain(value)) for name, value in figures]


def _plain(text: str) -> str:
    """Escape names and labels, which users choose: no character of them may make a link or formatting."""
    return _SIGNS.sub(r"\\\1", text)


def size(text: str) -> int:
    """Length as the strictest reader counts it: in UTF-16 units, of which an emoji takes two."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip(text: str, most: int) -> str:
    """The text, or its beginning with an ellipsis."""
    if size(text) <= most:
        return text
    if most < 1:
        return ""
    cut = text.encode("utf-16-le", "surrogatepass")[: 2 * (most - 1)].decode("utf-16-le", "ignore")
    if (len(cut) - len(cut.rstrip("\\"))) % 2:
        cut = cut[:-1]  # half of an escaped character
    return cut + "…"


def clipped(title: str, text: str, fields: list[tuple[str, str]], footer: str) -> JsonObject:
    """An embed within every limit; if the sum is too long, the title has priority, then text, footer and fields."""
    left = MAX_SUM
    embed: JsonObject = {"title": clip(title, MAX_TITLE)}
    left -= size(embed["title"])
    if text:
        embed["description"] = clip(text, MAX_TEXT)
        left -= size(embed["description"])
    if footer:
        embed["footer"] = {"text": clip(footer, min(MAX_FOOTER, left))}
        left -= size(embed["footer"]["text"])
    rendered: list[JsonObject] = []
    for name, value in fields[:MAX_FIELDS]:
        name, value = clip(name, MAX_NAME), clip(value, MAX_VALUE)
        if not name.strip() or not value.strip():
            continue  # Discord refuses an empty one
        left -= size(name) + size(value)
        if left < 0:
            break
        rendered.append({"name": name, "value": value, "inline": True})
    if rendered:
        embed["fields"] = rendered
    return embed
