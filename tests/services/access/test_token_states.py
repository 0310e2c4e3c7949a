"""Until when a token is in force."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.services.access.tokens import TokenInfo, end_of_day

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires_in_s", "revoked", "state"),
    [(None, False, "in_force"), (1, False, "in_force"), (0, False, "expired"), (-1, True, "revoked")],
)
def test_a_token_is_in_force_until_it_expires_or_is_revoked(
    expires_in_s: int | None, revoked: bool, state: str
) -> None:
    token = TokenInfo(
        id=1,
        name="gateway",
        prefix="cml_abc",
        scopes=("predict",),
        project_id=None,
        created_at=NOW,
        created_by="ada",
        expires_at=None if expires_in_s is None else NOW + timedelta(seconds=expires_in_s),
        revoked_at=NOW if revoked else None,
        last_used_at=None,
    )
    assert token.state(NOW) == state


def test_valid_through_a_day_means_the_whole_day_of_the_visitors_zone() -> None:
    assert end_of_day(date(2026, 7, 1), ZoneInfo("Europe/Paris")) == datetime(2026, 7, 1, 21, 59, 59, tzinfo=UTC)
    assert end_of_day(date(2026, 1, 1), UTC) == datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)
