"""What needs attention: whatever waits for a person."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.services.monitoring.overview import Overview


def show(seen: Overview) -> None:
    """Each with a link to the page for it."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**Needs attention** :gray-badge[{len(seen.needs)}]")
        if not seen.needs:
            st.caption("Nothing needs your attention.")
        for i, need in enumerate(seen.needs):
            with st.container(horizontal=True, vertical_alignment="center", key=f"need-{i}"):
                st.markdown(f"**{words.plain(need.text)}**  \n{words.plain(need.detail)}", width="stretch")
                st.page_link(ui.page_path(need.page), label="Open", icon=":material/arrow_forward:")
