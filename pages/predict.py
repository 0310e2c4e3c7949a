"""What does it say for this row, for this file? Every answer comes from the champion and is logged with its version."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from core import plots, ui, words
from core.data.files import write_csv
from core.errors import ContinualError
from core.records import Feature, FeatureSchema, ProjectInfo
from core.services.access.actors import require
from core.services.ingestion import stored_batches

if TYPE_CHECKING:
    from core.learning.contributions import Explanation
    from core.services.serving.serving import Served

FORM_FEATURES = 200  # more fields than these are no form: a file is asked for
SHOWN_ROWS = 200
ROWS_FILE = ["csv", "gz", "parquet", "arrow", "feather"]
MISSING = "(missing)"
SHOWN_HITS = 5
WAYS_TO_KNOW = {"linear": "exact", "trees": "exact", "permutation": "estimated from sampled orders of the features"}
WAYS = {"row": "One row", "file": "A file"}


# --- one row -------------------------------------------------------------------------------------------------------


def field_key(project: ProjectInfo, feature: Feature) -> str:
    """Key of a feature's widget; by project, so that switching does not mix values."""
    return f"x-{project.id}-{feature.name}"


def fill_from_recent(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """Put the values of one of the newest rows into the form; each press takes another one."""
    rows = stored_batches.read_rows(ctx.ws, project, n=50)
    if not len(rows):
        return
    at = st.session_state.get("fill", 0)
    st.session_state["fill"] = (at + 1) % len(rows)
    row = rows.iloc[len(rows) - 1 - at]
    for feature in schema.features:
        st.session_state[field_key(project, feature)] = as_field(feature, row[feature.name])
    st.session_state["known"] = row[schema.target]


def as_field(feature: Feature, value: Any) -> Any:
    """A stored value as the form's widget takes it; missing stays missing."""
    missing = value is None or value != value
    if feature.kind == "numeric":
        return None if missing else float(value)
    return MISSING if missing or str(value) not in feature.categories else str(value)


def form_field(project: ProjectInfo, feature: Feature) -> Any:
    """The widget of one feature; returns its value, None = missing."""
    key = field_key(project, feature)
    if feature.kind == "numeric":
        seen = (
            f"Seen: {feature.low:.4g} to {feature.high:.4g}"
            if feature.low is not None and feature.high is not None
            else "No finite value was seen"
        )
        return st.number_input(
            ui.plain(feature.name), value=None, key=key, help=seen, placeholder="missing", format="%.6g"
        )
    options = [MISSING, *feature.categories]
    chosen = st.selectbox(
        ui.plain(feature.name),
        options,
        key=key,
        help=f"{ui.counted(len(feature.categories), 'value')} seen; another one may be typed.",
        accept_new_options=feature.kind == "categorical",
    )
    return None if chosen in (MISSING, None) else chosen


def one_row(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """Form on the left, answer on the right."""
    if len(schema.features) > FORM_FEATURES:
        st.info(
            f"{ui.count(len(schema.features))} features are too many for a form. Predict for a file instead.",
            icon=":material/table:",
        )
        return
    left, right = st.columns([1.5, 1])
    with (
        left,
        ui.card(
            "The row",
            f"{ui.counted(len(schema.features), 'feature')} · the range seen in the first batch stands in each help · an empty field is a missing value",
        ),
    ):
        st.button(
            "Fill from a recent row",
            icon=":material/history:",
            key="fill-button",
            on_click=fill_from_recent,
            args=(ctx, project, schema),
            disabled=project.rows == 0,
        )
        with st.form("row", border=False):
            with st.container(height=430 if len(schema.features) > 12 else "content", border=False), ui.grid(columns=3):
                values = {feature.name: form_field(project, feature) for feature in schema.features}
            sent = st.form_submit_button(
                "Predict",
                type="primary",
                icon=":material/online_prediction:",
                disabled=not ctx.may("operator"),
                help=ctx.why_not("operator"),
            )
    with right:
        if sent:
            answer_row(ctx, project, values)
        elif "answer" not in st.session_state:
            with ui.card("The answer", "Class, probability of every class, and the version that said it"):
                st.markdown("Fill the form and press **Predict**.")
        if (answer := st.session_state.get("answer")) and answer["project"] == project.id:
            show_answer(ctx, answer)


def loaded(ctx: ui.Context, project: ProjectInfo) -> Served | None:
    """The champion in this process's memory; the first time takes seconds. None, and why, when it cannot be loaded."""
    with st.spinner(f"Loading v{project.champion}"):
        served = ui.served(ctx, project)
    if served is None:
        st.error(ui.plain(ui.champions().problem(project.id) or "No model answers yet."), icon=":material/error:")
    return served


def answer_row(ctx: ui.Context, project: ProjectInfo, values: dict[str, Any]) -> None:
    """Predict, log, and keep the answer and its reasons for this session."""
    from core.services.serving import explaining, serving
    from core.services.serving.prediction_log import store

    served = loaded(ctx, project)
    if served is None:
        return
    try:
        row, _, _ = served.reader.one(values)
        answer = serving.predict_one(served, row)
        label, place, chances = answer
        spoken = served.guards.one(row, label, None if chances is None else chances[place])
        require(ctx.ws, ctx.actor, "operator")
        record = serving.record_one(served, row, answer, now=ctx.now, guarded=spoken)
        store(ctx.ws, [record])
        why = explaining.explain_row(served, row)
    except ContinualError as error:
        ui.error_box(error)
        return
    st.session_state["answer"] = {
        "project": project.id,
        "label": label,
        "chances": chances or [],
        "classes": served.classes,
        "version": served.version,
        "id": record[1],
        "target": served.schema.target,
        "guards": spoken,
        "why": why,
        "known": st.session_state.pop("known", None),
    }
    st.toast(f"Logged as {record[1][:8]}…, answered by v{served.version}.", icon=":material/check_circle:")


def show_answer(ctx: ui.Context, answer: dict[str, Any]) -> None:
    """The class or number, every class's probability, the version; then the reasons."""
    label, target = answer["label"], ui.plain(answer["target"])
    if answer["chances"]:
        chance = dict(zip(answer["classes"], answer["chances"], strict=True)).get(label)
        found = f"{target} is {ui.plain(str(label))}" + (f", probability {chance:.0%}" if chance is not None else "")
    else:
        found = f"{target} is {label:,.4g}"
    withheld = answer["guards"] and answer["guards"]["action"] != "warn"
    with ui.card(
        f"The model says: {found}" if withheld else found,
        f"Answered by v{answer['version']} · logged as {answer['id']}",
    ):
        if answer["guards"]:
            show_guards(target, answer["guards"])
        if answer["chances"]:
            figure = plots.probabilities(tuple(answer["classes"]), tuple(answer["chances"]), colors=ctx.colors)
            ui.chart(
                figure,
                key="chances",
                alt=", ".join(f"{c}: {p:.0%}" for c, p in zip(answer["classes"], answer["chances"], strict=True)),
            )
        if answer["known"] is not None:
            st.caption(
                f"The recent row that filled the form has {target} = {ui.plain(str(answer['known']))}; the model may have learnt from it."
            )
        st.caption("Send the true value later under this row id: Data, Add labels.")
    show_why(ctx, answer["why"], target)


def show_guards(target: str, spoken: dict[str, Any]) -> None:
    """What the guards said, and what a program is given instead."""
    instead = {
        "warn": "A program is given this answer together with the warning.",
        "abstain": "**The answer is withheld:** a program is given none.",
        "override": f"**Replaced:** a program is told that {target} is {ui.plain(str(spoken['answer']))}.",
    }
    said = [f"{ui.plain(plots.GUARD_NAMES[h['guard']])}: {hit_words(h)}" for h in spoken["hits"][:SHOWN_HITS]]
    if len(spoken["hits"]) > SHOWN_HITS:
        said.append(f"{len(spoken['hits']) - SHOWN_HITS} more of this kind")
    show = st.warning if spoken["action"] == "warn" else st.error
    show(f"{instead[spoken['action']]}\n" + "\n".join(f"- {line}" for line in said), icon=":material/shield:")


def hit_words(hit: dict[str, Any]) -> str:
    """What one guard saw and expected."""
    seen = f"{hit['seen']:.4g}" if isinstance(hit["seen"], float) else str(hit["seen"])
    feature = f"{hit['feature']} is " if hit["feature"] else ""
    return ui.plain(f"{feature}{seen}, expected {hit['expected']}")


def show_why(ctx: ui.Context, why: Explanation, target: str) -> None:
    """Contributions of the features to the answer."""
    first, *_ = sorted(why.contributions, key=lambda c: -abs(c[2]))
    of = f"{target} = {ui.plain(str(why.of))}" if why.of is not None else target
    finding = f"Why: {ui.plain(first[0])} counts most" if first[2] else "Why: no feature makes a difference here"
    how = WAYS_TO_KNOW[why.method]
    caption = (
        f"What each feature adds to the {why.unit} of {of}: {figure_text(why.base)} for usual rows, "
        f"{figure_text(why.answer)} for this one · {how}"
    )
    with ui.card(finding, caption):
        ordered = sorted(why.contributions, key=lambda c: -abs(c[2]))[:10]
        ui.chart(
            plots.contributions(why.contributions, colors=ctx.colors),
            key="why",
            alt="; ".join(f"{feature}: {words.contribution(amount)}" for feature, _, amount in ordered),
        )


def figure_text(value: float) -> str:
    """Three figures, with a true minus."""
    return f"{value:,.3g}".replace("-", "\u2212")


# --- a file ----------------------------------------------------------------------------------------------------------


def a_file(ctx: ui.Context, project: ProjectInfo, schema: FeatureSchema) -> None:
    """Upload, progress, head of the result, download."""
    with ui.card(
        "Predict for every row of a file",
        f"CSV, CSV.gz, Parquet or Arrow, up to {ctx.ws.settings.max_upload_mb:g} MB, with the {ui.counted(len(schema.features), 'feature column')} of the project",
    ):
        limit = max(math.ceil(ctx.ws.settings.max_upload_mb), 1)
        file = st.file_uploader(
            "Rows",
            type=ROWS_FILE,
            key="predict-file",
            max_upload_size=limit,
            disabled=not ctx.may("operator"),
            help=ctx.why_not("operator"),
        )
        if file is None:
            st.session_state.pop("scored", None)
            return
        kept = st.session_state.get("scored")
        if kept is None or kept[0] != file.file_id:
            if not st.button(
                "Predict the file", type="primary", icon=":material/online_prediction:", key="predict-run"
            ):
                return
            served = loaded(ctx, project)
            result = score_file(ctx, project, served, file) if served is not None else None
            if served is None or result is None:
                return
            st.session_state["scored"] = kept = (file.file_id, result, served.version)
    _, result, version = kept
    with ui.card(
        f"{ui.counted(len(result), 'row')} predicted by v{version}",
        f"The first {min(len(result), SHOWN_ROWS)} rows; the download holds all of them. Each one is in the prediction log.",
    ):
        st.dataframe(
            result.iloc[:SHOWN_ROWS],
            hide_index=True,
            row_height=32,
            placeholder="–",
            alt=f"Predictions for the first rows of {file.name}",
        )
        ui.download_later(
            "All rows with their prediction as CSV",
            f"{Path(file.name).stem}-predicted.csv",
            lambda: write_csv(result),
            label="Download CSV",
        )


def score_file(ctx: ui.Context, project: ProjectInfo, served: Served, file: Any) -> Any | None:
    """Predictions for a file, logged; None when it cannot be taken, which is said in place."""
    from core.data.files import read_table
    from core.services.serving import serving

    try:
        with (
            st.status(f"Reading {ui.plain(file.name)}", expanded=True) as status,
            tempfile.TemporaryDirectory() as folder,
        ):
            path = Path(folder) / "upload"
            path.write_bytes(file.getbuffer())
            frame = read_table(
                path, name=file.name, max_bytes=ctx.ws.settings.max_upload_bytes, target=served.schema.target
            ).frame
            st.write(f"{ui.counted(len(frame), 'row')} read")
            status.update(label=f"v{served.version} predicts {ui.counted(len(frame), 'row')}")
            require(ctx.ws, ctx.actor, "operator")
            result = serving.predict_file(ctx.ws, project, frame, now=ctx.now)
            st.write("Predicted and logged")
            status.update(
                label=f"{ui.counted(len(result), 'row')} predicted by v{served.version}",
                state="complete",
                expanded=False,
            )
    except ContinualError as error:
        ui.error_box(error)
        return None
    st.toast(f"{ui.counted(len(result), 'row')} predicted and logged.", icon=":material/check_circle:")
    return result


def main() -> None:
    """Draw the page."""
    ctx = ui.start_page("Predict", choose_project=True)
    project = ctx.project
    if project is None:
        ui.no_project()
        return
    schema = project.schema
    with ui.head_row("Predict", f"v{project.champion} answers" if project.champion else "no model yet"):
        if project.champion:
            way = st.segmented_control(
                "For",
                list(WAYS),
                format_func=WAYS.__getitem__,
                default="row",
                required=True,
                key="way",
                bind="query-params",
                label_visibility="collapsed",
            )
    if project.champion is None or schema is None:
        ui.empty(
            "No champion yet.",
            "Predictions come from the model that won a race. Start the first one.",
            page="train",
            action="Go to Train",
        )
        return
    if way == "row":
        one_row(ctx, project, schema)
    else:
        a_file(ctx, project, schema)


main()
