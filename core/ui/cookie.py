"""The cookie that keeps a person signed in: streamlit-authenticator's, set by the page itself.

The library has it set by a component, which then answers: each answer, late as it may be, runs the page again, and with it
the page that was open when the browser sent it. What the person has requested meanwhile could be lost. A statement in the
page answers nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.utils import format_datetime

from streamlit_authenticator.models import CookieModel


class Statement:
    """In the place of the library's component: keeps the HTML whose script sets the cookie."""

    html = ""

    def set(self, name: str, token: str, expires_at: datetime) -> None:
        """Called by the library; without a zone `expires_at` is local time."""
        ends = format_datetime(expires_at.astimezone(UTC), usegmt=True)
        cookie = json.dumps(f"{name}={token}; expires={ends}; path=/; SameSite=Strict").replace("<", "\\u003c")
        secure = 'location.protocol === "https:" ? "; Secure" : ""'
        self.html = f"<script>document.cookie = {cookie} + ({secure});</script>"


class SignInCookie(CookieModel):
    """Signs `st.session_state["username"]` into a cookie that lasts for `days`."""

    def __init__(self, name: str, key: str, days: float) -> None:
        # Not the library's own: it would draw the component.
        self.cookie_name, self.cookie_key, self.cookie_expiry_days = name, key, days
        self.cookie_manager = Statement()
        self.token: str | None = None
        self.exp_date: float = 0.0

    def written(self) -> tuple[str, float]:
        """The HTML whose script sets the cookie, and when the cookie ends (Unix seconds)."""
        self.set_cookie()
        return self.cookie_manager.html, self.exp_date
