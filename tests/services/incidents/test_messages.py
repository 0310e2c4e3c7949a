"""Messages within Discord's limits, with figures, link and no mention; switches by kind."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from core.records import Score
from core.services.incidents import messages
from core.services.incidents.messages import KINDS, SWITCHES, Facts, Message

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def embed_of(**expected: Any) -> dict[str, Any]:
    public = expected.pop("public_url", None)
    found: dict[str, Any] = messages.payload(Message(**expected), public, AT)["embeds"][0]
    return found


def total(embed: dict[str, Any]) -> int:
    """What Discord adds up, in the units in which it is most."""
    texts = [embed["title"], embed.get("description", ""), embed.get("footer", {}).get("text", "")]
    texts += [part for field in embed.get("fields", ()) for part in (field["name"], field["value"])]
    return sum(messages.size(text) for text in texts)


def test_a_message_shows_its_figures_as_fields_and_links_to_its_page() -> None:
    facts = Facts(
        version=3, before=2, after=3, metric="accuracy", threshold=0.8, share=0.4, share_limit=0.3, drifted=("a_b",),
        score=Score(metric="accuracy", value=0.71, low=0.66, high=0.76, n=400), rows=500, labelled=400,
    )  # fmt: skip
    body = messages.payload(
        Message(kind="promotion", project="Flies", slug="flies", cycle=7, text="Better.", facts=facts),
        "https://ml.example.org", AT,
    )  # fmt: skip
    assert body["allowed_mentions"] == {"parse": []}
    embed = body["embeds"][0]
    assert embed["title"] == "Flies: v3 promoted"
    assert embed["url"] == "https://ml.example.org/models?project=flies"
    assert datetime.fromisoformat(embed["timestamp"]) == AT
    assert embed["color"] == messages.GREEN
    fields = {f["name"]: f["value"] for f in embed["fields"]}
    assert fields["Accuracy"] == "0.710"
    assert fields["95\u202f% interval"] == "0.660–0.760"
    assert fields["Measured on"] == "400 labelled rows"
    assert fields["Champion"] == "v2 → v3"
    assert fields["Drifted features"] == "40\u202f%, limit 30\u202f%"
    assert fields["Which"] == "a\\_b"
    assert fields["New rows"] == "500, 400 newly labelled"


def test_a_link_to_automation_names_the_cycle_and_without_an_address_there_is_none() -> None:
    reported = {"kind": "failed", "project": "Flies", "slug": "flies", "cycle": 7}
    assert (
        embed_of(**reported, public_url="https://x.org/ml")["url"]
        == "https://x.org/ml/automation?project=flies&cycle=7"
    )
    assert "url" not in embed_of(**reported)


def test_an_address_that_discord_would_refuse_stands_in_a_field() -> None:
    embed = embed_of(kind="drift", project="P", slug="p", public_url="http://localhost:8501")
    assert "url" not in embed
    assert embed["fields"] == [{"name": "Open", "value": "http://localhost:8501/drift?project=p", "inline": True}]


def test_a_users_own_names_make_neither_link_nor_style() -> None:
    embed = embed_of(kind="failed", project="[x](http://evil)", text="**a** <@1>")
    assert embed["title"].startswith("\\[x\\](http://evil)")
    assert embed["description"] == "\\*\\*a\\*\\* \\<@1\\>"


@pytest.mark.parametrize("sign", ["x", "\U0001f600", "*"])
def test_limits_hold_one_by_one_and_in_sum(sign: str) -> None:
    fields = [(sign * 300, sign * 2000)] * 30
    embed = messages.clipped(sign * 300, sign * 5000, fields, sign * 3000)
    assert messages.size(embed["title"]) <= 256
    assert messages.size(embed["description"]) <= 4096
    assert messages.size(embed["footer"]["text"]) <= 2048
    assert total(embed) <= 6000
    many = messages.clipped("t", "", [("name", "value")] * 40, "")
    assert len(many["fields"]) == 25
    wide = messages.clipped("t", "", [(sign * 300, sign * 2000)], "")["fields"][0]
    assert messages.size(wide["name"]) <= 256
    assert messages.size(wide["value"]) <= 1024
    assert wide["value"].endswith("…")


@given(
    st.text(max_size=400), st.text(max_size=7000), st.lists(st.tuples(st.text(), st.text(max_size=1500)), max_size=30)
)
def test_no_text_breaks_a_limit_or_leaves_a_field_empty(title: str, text: str, fields: list[tuple[str, str]]) -> None:
    embed = messages.clipped("p" + title, text, fields, "footer")
    assert total(embed) <= 6000
    assert all(f["name"].strip() and f["value"].strip() for f in embed.get("fields", ()))


def test_a_cut_never_ends_in_half_an_escaped_sign() -> None:
    assert messages.clip("ab\\*cd", 4) == "ab…"
    assert messages.clip("ab\\*cd", 5) == "ab\\*…"


def test_all_but_a_refused_challenger_is_sent_by_default() -> None:
    assert {name for name, on in messages.chosen(None).items() if not on} == {"refused"}
    assert messages.sends(None, "back")
    assert not messages.sends({"silent": False}, "back")
    assert all(kind.label for name, kind in KINDS.items() if name in SWITCHES)


def test_only_what_differs_from_the_default_is_stored() -> None:
    assert messages.changed(None, {"refused": True, "drift": True}) == {"refused": True}
    assert messages.changed({"refused": True}, {"refused": False}) == {}
    with pytest.raises(BadInput, match="no kind of message 'nonsense'"):
        messages.changed(None, {"nonsense": True})
