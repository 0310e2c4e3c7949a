"""The sentence of every reason: one table from its code to a template, or to a function of its numbers.

What is said here is stored nowhere as a fact: it may be worded anew. Nothing reads a sentence to learn what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core import words
from core.records import Reason, reason_from, sides, to_document
from core.words import duration, metric_in_reason, plain_score

Numbers = Mapping[str, Any]
DETECTORS = {"adwin": "ADWIN", "page_hinkley": "Page-Hinkley"}


def sentence(reason: Reason) -> str:
    """A reason in words; "" where there is none.

    Raises:
        KeyError: a code that has no sentence.
    """
    if not reason:
        return ""
    said = SENTENCES[reason.code]
    numbers = {name: _finite_or_not(value) for name, value in reason.numbers.items()}
    return said.format(**numbers) if isinstance(said, str) else said(numbers)


def why_not_trusted(grade: Reason) -> str:
    """How far the labels lie from an estimate that they refute, where "Not trusted:" is said already."""
    return _refuted(grade.numbers) if grade.code == "labels_refute" else sentence(grade)


def why_not_judged(reason: Reason) -> str:
    """Why a column was not judged, where that it was not is said already; "" where only a text is known."""
    return sentence(reason_from(reason.numbers["why"])) if reason.code == "not_judged" else ""


def first_of(reason: Reason) -> Reason:
    """The first of what a reason consists of."""
    return reason_from(reason.numbers["parts"][0]) if reason.code == "all_of" else reason


def in_words(value: Any) -> Any:
    """Plain JSON values of records for people and programs outside: every reason as its sentence."""
    return to_document(value, reason=sentence)


def _finite_or_not(value: Any) -> Any:
    """JSON has no infinity: such a number is kept as its text."""
    return float(value) if value in ("inf", "-inf", "nan") else value


def _all(numbers: Numbers, name: str) -> list[str]:
    return [sentence(reason_from(part)) for part in numbers[name]]


# --- triggers and decisions -----------------------------------------------------------------------------------------


def _below_threshold(of: Numbers) -> str:
    side, _ = sides(of["metric"])
    score, threshold = plain_score(of["score"]), plain_score(of["threshold"])
    return f"{metric_in_reason(of['metric'])} {score} over {of['rows']:,} rows is {side} the threshold {threshold}."


def _below_recent_mean(of: Numbers) -> str:
    score, mean, bound = (plain_score(of[name]) for name in ("score", "mean", "bound"))
    name = metric_in_reason(of["metric"])
    return f"{name} {score} is worse than its recent mean {mean} by more than chance (bound {bound})."


def _estimated_below(of: Numbers) -> str:
    side, _ = sides(of["metric"])
    name, estimated = metric_in_reason(of["metric"]), plain_score(of["estimated"])
    threshold = plain_score(of["threshold"])
    return f"{name} is estimated at {estimated} without labels, with its whole band {side} the threshold {threshold}."


def _errors_rose(of: Numbers) -> str:
    evidence = f"{of['evidence']:,.0f}" if of["evidence"] < 1e6 else "over 1,000,000"
    return f"The champion's errors rose: evidence {evidence}, a change is found from {of['needed']:g} on."


def _drift_share(of: Numbers) -> str:
    names = ", ".join(of["names"]) + (" and others" if of["drifted"] > len(of["names"]) else "")
    return f"{of['share']:.0%} of the features drifted ({names}), the policy's limit is {of['limit']:.0%}."


def _age(of: Numbers) -> str:
    return f"The last race was {duration(of['age'])} ago, the policy races at least every {duration(of['limit'])}."


def _nothing_fired(of: Numbers) -> str:
    name, score = metric_in_reason(of["metric"]), plain_score(of["score"])
    return f"No trigger fired: {name} {score} over {of['rows']:,} rows."


# --- clauses and verdicts -------------------------------------------------------------------------------------------


def _split(of: Numbers) -> str:
    better = "nearer" if of["regression"] else "right"
    return f"the challenger alone is {better} on {of['wins']:,} rows, the champion alone on {of['losses']:,}"


def _right_more_often(of: Numbers) -> str:
    split = _split(of)
    return f"{split[0].upper()}{split[1:]}."


def _better_by_metric(of: Numbers) -> str:
    name, found = metric_in_reason(of["metric"]), of["by"]
    way = "better" if found > 0 else "worse" if found < 0 else "no better"
    by = f" by {abs(found):.3f}" if found else ""
    return f"{name} is {way}{by} than the champion's on the same {of['rows']:,} rows; {_split(of)}."


def _not_worse(of: Numbers) -> str:
    side = "all of it on the champion's side" if of["worse"] else "not all of it on the champion's side"
    return (
        f"{metric_in_reason(of['metric'])}, challenger minus champion on the same rows: "
        f"{of['value']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f}), {side}."
    )


def _forgetting(of: Numbers) -> str:
    limit = of["limit"]
    allowed = "no limit set" if limit <= 0 else f"it may lose {limit:g}"
    if limit > 0 and of["answers_change"]:
        allowed += ", or more: it answers a change"
    return (
        f"On {of['n']:,} rows of {of['regimes']} past regime{'s' if of['regimes'] > 1 else ''} that nothing learnt from: "
        f"challenger {plain_score(of['challenger'])}, champion {plain_score(of['champion'])}; {allowed}."
    )


def _calibration(of: Numbers) -> str:
    what = "Bias in spreads" if of["regression"] else "Confidence minus accuracy"
    beside = f", champion {of['champion']:+.3f}" if of["champion"] is not None else ""
    allowed = f"up to {of['allowed']:.3f} either way is within what these rows can tell"
    return f"{what}: challenger {of['challenger']:+.3f}{beside}; {allowed}."


def _prediction_time(of: Numbers) -> str:
    told = f"at most {of['limit']:g} allowed" if of["limit"] > 0 else "no limit set"
    return f"It takes {of['milliseconds']:.1f} ms for 1,000 rows; {told}."


# --- scores and estimates --------------------------------------------------------------------------------------------


def _chunks(of: Numbers) -> str:
    return f"the newest {of['chunks']} labelled chunks" if of["chunks"] > 1 else "the one labelled chunk"


def _labels_agree(of: Numbers) -> str:
    agree = f"the labels agree with the estimate (mean z {of['z']:+.1f}, within {of['limit']:.1f})"
    return f"Over {_chunks(of)} {agree}."


def _refuted(of: Numbers) -> str:
    side = "below" if of["z"] < 0 else "above"
    lie = f"the labels lie {abs(of['z']):.1f} standard deviations {side} the estimate, more than {of['limit']:.1f}"
    return f"over {_chunks(of)} {lie}."


# --- drift of a column -----------------------------------------------------------------------------------------------


def _chance(of: Numbers) -> str:
    corrected = f" after Holm over {of['tests']:,} tests" if of["tests"] > 1 else ""
    return words.p_value(of["p"]) + corrected


def _size(of: Numbers) -> str:
    """The effect with two decimals, more where it would read as the gate itself."""
    near = abs(of["effect"] - of["gate"]) < 0.005 and of["effect"] != of["gate"]
    return f"{of['measure']} {of['effect']:.{4 if near else 2}f}"


def _median(of: Numbers) -> str:
    before, after = of["before"], of["after"]
    return f"median {words.change(before, after)}" if before != after else f"median {words.figure(before)} in both"


def _new_and_gone(of: Numbers) -> str:
    told = []
    for word, more in (("new", "more_new"), ("gone", "more_gone")):
        named = [f"'{name}' ({words.share_in_finding(share)} of rows)" for name, share in of[word]]
        beyond = f" and {of[more]:,} more" if of[more] else ""
        if named:
            told.append(f"{word}: {', '.join(named) + beyond if beyond else words.listed(named)}")
    return "; ".join(told)


def _missing_moved(of: Numbers) -> str:
    return f"missing in {words.share_change(of['before'], of['after'])} of rows ({_chance(of)})"


def _why(of: Numbers) -> str:
    return sentence(reason_from(of["why"]))


def _another_type_now(of: Numbers) -> str:
    found = "numbers where text was" if of["numbers"] else "text where numbers were"
    return f"another type: {found} expected in the current window"


def _answers_compared(of: Numbers) -> str:
    rows = f"v{of['version']} on {of['rows']:,} earlier rows that it has not learnt from"
    return f"{sentence(reason_from(of['found'])).rstrip('.')} (reference: {rows})"


def _structure(of: Numbers) -> str:
    step = of["high"] - of["low"]
    band = f"{words.figure(of['low'], step)} to {words.figure(of['high'], step)}"
    return f"reconstruction error {words.figure(of['error'], step)}, expected {band}"


def _leans_on(of: Numbers) -> str:
    if moved := of["moved"]:
        way = "more" if of["after"] > of["before"] else "less"
        also = f"; also moved: {words.listed(moved[1:])}" if len(moved) > 1 else ""
        text = f"The model leans {way} on {moved[0]}: importance {words.change(of['before'], of['after'])}{also}"
    else:
        text = f"The model leans on its features as before ({words.counted(of['judged'], 'feature')} compared)"
    if of["correlation"] is None:
        text += f"; order not compared: fewer than {of['least']} features matter more than chance"
    else:
        text += f"; {_order(of['correlation'])} (rank correlation {of['correlation']:.2f})"
    if of.get("weighed", 0) < of.get("features", 0):
        text += (
            f" (of the {of['weighed']} features that drifted furthest; the other {of['features'] - of['weighed']:,} are "
            "not weighed)"
        )
    return text


def _order(correlation: float) -> str:
    if correlation >= 0.9:
        return "the order of the features is nearly the same"
    if correlation >= 0.6:
        return "the order of the features changed in part"
    if correlation >= 0.2:
        return "the order of the features changed much"
    return "the order of the features has little to do with the old one"


def _importance(of: Numbers) -> str:
    return f"importance {words.change(of['before'], of['after'])}, {abs(of['z']):.1f} standard errors"


# A code in the table and its numbers are stored: a code may be added, and stays.
SENTENCES: dict[str, str | Callable[[Numbers], str]] = {
    "text": lambda of: str(of["text"]),
    "together": lambda of: " ".join(_all(of, "parts")),
    # Triggers.
    "no_champion": "There is no champion yet and {rows:,} labelled rows to learn from.",
    "by_hand": "Somebody asked for it.",
    "below_threshold": _below_threshold,
    "below_recent_mean": _below_recent_mean,
    "estimated_below": _estimated_below,
    "errors_changed": "The champion's errors changed to a higher rate inside these rows.",
    "errors_rose": _errors_rose,
    "error_alarm": lambda of: f"{'; '.join(sentence(reason_from(alarm)) for alarm in of['alarms'])}.",
    "error_rose": lambda of: (
        f"{DETECTORS[of['detector']]}: the error rose from {of['before']:.3f} to {of['after']:.3f} since row {of['row']:,}"
    ),
    "drift_share": _drift_share,
    "new_labels": "{rows:,} labelled rows since the last race, the policy races every {every:,}.",
    "age": _age,
    "schedule": "An instant of the schedule '{schedule}' (UTC) has passed since the last race.",
    # What holds a race back, and why nothing is done.
    "too_few_new_rows": "Too few labelled rows since the last race to learn from: {rows:,} of {needed:,}.",
    "cooldown": lambda of: f"The cooldown has {duration(of['seconds'])} to go.",
    "in_shadow": "A challenger is being tried in the shadow.",
    "budget_spent": "The budget is spent: {races} of {budget} races in 24 hours.",
    "too_few_for_the_first": "No champion yet: {rows:,} of the {needed} labelled rows that a first race needs.",
    "nothing_measured": lambda of: f"No trigger fired; no labelled row to measure {metric_in_reason(of['metric'])} on.",
    "nothing_fired": _nothing_fired,
    # Clauses.
    "comparable": "Compared on {rows:,} labelled rows that neither has seen.",
    "not_comparable": "There is no labelled row that neither has seen. Wait for new labels.",
    "fits_schema": "Its answers fit the project's schema: known classes, finite, one a row.",
    "right_more_often": _right_more_often,
    "better_by_metric": _better_by_metric,
    "significantly_better": (
        "Chance of so large a difference between equals: {p:.3f}, at most {allowed} allowed ({test})."
    ),
    "no_paired_interval": "There is no paired interval: too few rows, or no champion.",
    "not_worse": _not_worse,
    "no_slice": "No slice has enough rows to be told.",
    "worst_slice": (
        "Where it does worst, {rule} ({n:,} rows), the challenger alone is right on {wins:,}, the champion alone on "
        "{losses:,}: p {p:.3f}, below {allowed:.4f} would count among {tried} slices."
    ),
    "no_past": "There is no past regime to forget yet.",
    "forgetting": _forgetting,
    "no_calibration": "Its probabilities could not be told from the rows.",
    "calibration": _calibration,
    "not_timed": "Prediction time was not measured: no clock in a replay.",
    "prediction_time": _prediction_time,
    # Scores without a value, or without an interval.
    "no_row_to_compare": "No row to compare on.",
    "no_interval": "An interval needs two rows.",
    "no_labelled_row": "No labelled row.",
    "no_row_unseen_by_both": "No labelled row that neither has seen.",
    "no_row_new_to_both": "No labelled row that neither has learnt from.",
    "too_few_rows": "Needs {needed} rows, found {found}.",
    "too_few_labelled_rows": "Needs {needed} labelled rows, found {found}.",
    "no_probabilities": "The predictions carry no probabilities.",
    "not_two_classes": "Needs two classes, the model knows {known}.",
    "unknown_class": "A class occurs that the model does not know.",
    "one_class": "Only one class among these rows.",
    "not_finite": "A value or a probability among these rows is not a finite number.",
    "one_and_the_same_class": ("Truth and predictions are one and the same class: chance alone agrees on every row."),
    "equal_values": "All true values are equal: there is no variance to explain.",
    "in_portions": "Its labels came in {portions} portions, and it takes all rows at once to tell.",
    "needs_answers_alone": "On drawn rows only metrics of the answers themselves are told.",
    "untellable": "It cannot be told from these rows.",
    "not_fitted": "Not fitted.",
    "no_unseen_row": "No row that it has not seen.",
    "counted_in_shadow": "Counted row by row in the shadow.",
    # Estimates, and whether labels bear them out.
    "short_reference": "The reference has {rows:,} labelled rows, needs {needed:,}.",
    "one_class_in_reference": "Every label of the reference is one class: there is nothing to tell apart.",
    "no_row_in_chunk": "The chunk has no row.",
    "rows_without_prediction": "{missing:,} of {rows:,} rows have no prediction.",
    "figures_not_finite": "The rows do not say: the figures behind it are not finite.",
    "rows_do_not_say": "The rows do not say.",
    "no_pair_to_rank": "Every label would be one class: there is no pair of rows to rank.",
    "one_and_the_same_class_expected": (
        "Labels and predictions would be one and the same class: chance alone agrees on every row."
    ),
    "no_estimate_graded": "No estimate has met its labels yet.",
    "not_graded": "No labels have come yet to grade it by.",
    "labels_agree": _labels_agree,
    "labels_refute": lambda of: f"Not trusted: {_refuted(of)}",
    # Drift: what the tests of a column found, and what happened to it.
    "all_of": lambda of: "; ".join(_all(of, "parts")),
    "above_gate": lambda of: f"{_size(of)}, above the gate {of['gate']:.3g} ({_chance(of)})",
    "within_gate": lambda of: f"{_size(of)}, a change within the gate {of['gate']:.3g} ({_chance(of)})",
    "by_chance": lambda of: f"{_size(of)}, but it could be chance ({_chance(of)})",
    "below_gate": lambda of: f"{_size(of)}, gate {of['gate']:.3g}",
    "missing_moved": _missing_moved,
    "median": _median,
    "varies": lambda of: f"it varies {'more' if of['more'] else 'less'}",
    "values_at_ends": lambda of: f"{'more' if of['more'] else 'fewer'} values at the ends",
    "new_and_gone": _new_and_gone,
    "category_moved": lambda of: f"'{of['category']}' {words.share_change(of['before'], of['after'])}",
    "answers_compared": _answers_compared,
    # Why a column was not judged.
    "not_judged": lambda of: f"not judged: {_why(of)}",
    "values_not_judged": lambda of: f"values not judged: {_why(of)}",
    "unfit_window": lambda of: f"{sentence(reason_from(of['seen']))} in the {of['window']} window",
    "type_for_numbers": "{type} where numbers were expected",
    "text_for_numbers": "text where numbers were expected",
    "mixed_types": "mixed types: {bad:,} of {rows:,} values are no numbers",
    "beyond_doubles": "whole numbers beyond the range of doubles",
    "another_type": "another type",
    "another_type_now": _another_type_now,
    "types_differ": "its type differs between the windows",
    "column_new": "a new column: it is in the current window only",
    "column_gone": "the column is gone: it is in the reference window only",
    "too_few_rows_in_windows": "{n:,} and {m:,} rows, needs {needed:,} in each window",
    "too_few_values_in_windows": "{n:,} and {m:,} values, needs {needed:,} in each window",
    "all_missing": "every value is missing in both windows",
    "constant_number": lambda of: f"constant: {words.figure(of['value'])} in every row of both windows",
    "constant_category": "constant: '{value}' in every row of both windows",
    "too_many_values": "{found:,} different values, more than {allowed:,}: an id or free text",
    "rare_categories": "none of its {categories:,} categories has enough rows",
    "counts_rows": "it rises from row to row in both: a counter or an instant",
    "names_rows": "each row has a whole number of its own in both: an id",
    "too_few_answers": (
        "too few answers to rows that the model has not learnt from (at least {needed} before the new ones)"
    ),
    # Drift of all features together, and of what the champion leans on.
    "structure_broke": lambda of: f"features no longer go together as before: {_structure(of)}",
    "structure_tightened": lambda of: f"features go together more than before: {_structure(of)}",
    "structure_holds": lambda of: f"features go together as before: {_structure(of)}",
    "too_few_rows_of_window": lambda of: f"{words.counted(of['rows'], 'row')}, needs {of['needed']:,} in each window",
    "too_few_features_vary": (
        lambda of: f"{words.counted(of['features'], 'feature')} with more than one value, needs 2"
    ),
    "leans_on": _leans_on,
    "importance_drifted": lambda of: f"drifted: {_importance(of)}",
    "importance_moved_little": lambda of: f"sure but small: {_importance(of)}",
    "importance_by_chance": lambda of: f"within chance: {_importance(of)}",
    "no_loss_changes": "shuffling it changes no prediction's loss in either window",
    # Verdicts.
    "first_model": "The first model of the project: there is nothing to beat.",
    "no_gate": "This policy lets every new model in.",
    "no_row_to_learn": "There is no labelled row to learn from.",
    "nothing_fitted": lambda of: f"No candidate could be fitted: {'; '.join(of['errors']) or 'nothing was due'}",
    "rolled_back": (
        "Version {version}, which was replaced, alone has {wins:,} later rows right, its successor {losses:,} "
        "(of {rows:,}); evidence {evidence:.3g} : 1 that it is better, {needed:g} : 1 was needed."
    ),
}
