"""What needs me? Whatever waits for a person."""

from __future__ import annotations

import streamlit as st

from core import ui, words
from core.services.monitoring.overview import Overview


def show(seen: Overview) -> None:
    """Each with the way to where it is done."""
    with st.container(border=True, height="stretch"):
        st.markdown(f"**Needs you** :gray-badge[{len(seen.needs)}]")
        if not seen.needs:
            st.caption("Nothing. It looks after itself.")
        for i, need in enumerate(seen.needs):
            with st.container(horizontal=True, vertical_alignment="center", key=f"need-{i}"):
                st.markdown(f"**{words.plain(need.text)}**  \n{words.plain(need.detail)}", width="stretch")
                st.page_link(ui.page_path(need.page), label="Open", icon=":material/arrow_forward:")
