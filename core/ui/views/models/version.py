"""The selected version: its members, and the actions on it."""

from __future__ import annotations

import streamlit as st

from core import ui
from core.records import CommitteeMember, ModelVersion, ProjectInfo
from core.services.models import versions
from core.services.models.versions import Registered
from core.ui.views.models import dialogs, origin


def show(ctx: ui.Context, project: ProjectInfo, held: Registered, version: ModelVersion) -> None:
    """Members, actions, and where it comes from; a version whose artefact was removed has only the first."""
    n = len(version.members)
    made = f"{ui.counted(n, 'member')} vote" if n > 1 else ui.plain(version.family)
    with ui.card(f"v{version.version}: {made}", _about(ctx, version)):
        if version.members:
            _show_members(version)
        if version.removed_at is not None:
            st.caption(
                f"Artefact removed on {version.removed_at:%d %b %Y}: only the newest former champions and rejected challengers keep theirs."
            )
            return
        with st.container(horizontal=True):
            _offer_file(ctx, project, version)
            if version is held.champion:
                _offer_rollback(ctx, project, held)
            else:
                _offer_service(ctx, project, version)
        origin.show(ctx, project, version)


def _about(ctx: ui.Context, version: ModelVersion) -> str:
    """Where it comes from, and the time span of its rows."""
    source = "imported" if version.source == "import" else "created by the loop"
    if not version.first_at or not version.last_at:
        return source
    return f"{source} · rows from {ui.when(version.first_at, ctx)} to {ui.when(version.last_at, ctx)}"


def _show_members(version: ModelVersion) -> None:
    ui.table(
        [_line(member) for member in version.members],
        {
            "Member": st.column_config.TextColumn(width=180),
            "Vote": st.column_config.ProgressColumn(format="%d %%", min_value=0, max_value=100, color="blue", width=85),
            "Rows": ui.whole(width=60),
        },
        alt=f"Members of v{version.version} with their weights",
        height="content" if len(version.members) <= 6 else 230,
    )


def _line(member: CommitteeMember) -> dict[str, object]:
    """One member as a line of the table."""
    return {
        "Member": member.name or member.family,
        "Vote": None if member.weight is None else round(100 * member.weight),
        "Rows": member.n_rows,
    }


def _offer_file(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    st.download_button(
        "Download",
        data=ui.recheck_on_download(lambda: versions.artefact(ctx.ws, project, version.version)),
        file_name=f"{project.slug}-v{version.version}.skops",
        mime="application/octet-stream",
        icon=":material/download:",
        key="artefact",
        on_click="ignore",
    )


def _offer_rollback(ctx: ui.Context, project: ProjectInfo, held: Registered) -> None:
    """The button for a rollback, where there is a previous version."""
    champion, previous = held.champion, held.previous
    if champion is None or previous is None:
        return
    if ui.button(ctx, "Roll back", icon=":material/undo:", key="rollback"):
        dialogs.roll_back(ctx, project, champion, previous)


def _offer_service(ctx: ui.Context, project: ProjectInfo, version: ModelVersion) -> None:
    """The buttons that let a version serve, or run in shadow mode first."""
    if ui.button(ctx, f"Promote v{version.version}", icon=":material/publish:", key="promote"):
        dialogs.promote(ctx, project, version)
    if version.version == project.shadow:
        return
    if ui.button(
        ctx,
        "Run in shadow mode",
        icon=":material/contrast:",
        key="shadow",
        closed=project.champion is None,
        help="It predicts every new batch next to the champion; its predictions are not returned.",
    ):
        dialogs.put_into_shadow(ctx, project, version)
