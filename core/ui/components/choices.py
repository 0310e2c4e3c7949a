"""Choices that the address carries, so that a link reproduces what is seen; the project is one of them."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.records import ProjectInfo
from core.services.projects import projects
from core.storage.workspace import Workspace


def chosen(name: str, options: dict[str, str], usual: str, *, segmented: bool, width: int = 200) -> str:
    """One of the options; the address carries its key, so a link reproduces what is seen."""
    wanted = st.query_params.get(name, usual)
    usual = wanted if wanted in options else usual

    def remember() -> None:
        st.query_params[name] = st.session_state[f"chosen-{name}"]

    shared: dict[str, Any] = {
        "key": f"chosen-{name}",
        "format_func": lambda key: options[key],
        "on_change": remember,
        "label_visibility": "collapsed",
    }
    keys = list(options)
    if segmented:
        picked = st.segmented_control(name.capitalize(), keys, default=usual, required=True, **shared)
        return picked or usual
    return st.selectbox(name.capitalize(), keys, index=keys.index(usual), width=width, **shared) or usual


def switcher(ws: Workspace) -> ProjectInfo | None:
    """The project the page is about: the link's, the last one chosen, else the first."""
    known = projects.list_projects(ws)
    if not known:
        return None
    slugs = [p.slug for p in known]
    names = {p.slug: p.name for p in known}
    wanted = (
        st.session_state.pop("chosen project", None)
        or st.query_params.get("project")
        or st.session_state.get("last project")
    )
    if wanted not in slugs:
        wanted = slugs[0]
    slug = st.selectbox(
        "Project", slugs, index=slugs.index(wanted), format_func=lambda s: names[s], label_visibility="collapsed"
    )
    st.session_state["last project"] = slug
    if len(slugs) > 1 and st.query_params.get("project") != slug:
        st.query_params["project"] = slug
    return next(p for p in known if p.slug == slug)


def choose_project(slug: str) -> None:
    """Make a project the one that the switcher shows from the next run on."""
    st.session_state["chosen project"] = slug
    st.session_state["last project"] = slug
    if "project" in st.query_params:
        st.query_params["project"] = slug
