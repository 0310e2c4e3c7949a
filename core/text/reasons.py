"""The sentence of every reason: one table from its code to a template, or to a function of its numbers.

No sentence is stored as a fact, so any of them may be reworded. Nothing parses a sentence to learn what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from core import words
from core.records import METRICS, Reason, reason_from, sides, to_document
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
    template = SENTENCES[reason.code]
    numbers = {name: _finite_or_not(value) for name, value in reason.numbers.items()}
    return template.format(**numbers) if isinstance(template, str) else template(numbers)


def why_not_trusted(grade: Reason) -> str:
    """How far the labels lie from an estimate that they refute, for a text that already says "Not trusted:"."""
    return _refuted(grade.numbers) if grade.code == "labels_refute" else sentence(grade)


def why_not_judged(reason: Reason) -> str:
    """Why a column was not tested, for a text that already says that it was not; "" where only a text is known."""
    return sentence(reason_from(reason.numbers["why"])) if reason.code == "not_judged" else ""


def first_of(reason: Reason) -> Reason:
    """The first part of a reason."""
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
    return f"{name} {score} is significantly worse than its recent mean {mean} (bound {bound})."


def _estimated_below(of: Numbers) -> str:
    side, _ = sides(of["metric"])
    name, estimated = metric_in_reason(of["metric"]), plain_score(of["estimated"])
    threshold = plain_score(of["threshold"])
    return f"{name} is estimated at {estimated} without labels; the whole band is {side} the threshold {threshold}."


def _errors_rose(of: Numbers) -> str:
    evidence = f"{of['evidence']:,.0f}" if of["evidence"] < 1e6 else "over 1,000,000"
    return f"The champion's errors rose: evidence {evidence} (alarm at {of['needed']:g})."


def _drift_share(of: Numbers) -> str:
    names = ", ".join(of["names"]) + (" and others" if of["drifted"] > len(of["names"]) else "")
    return f"{of['share']:.0%} of the features drifted ({names}); the policy's limit is {of['limit']:.0%}."


def _age(of: Numbers) -> str:
    return f"The last race was {duration(of['age'])} ago; the policy races at least every {duration(of['limit'])}."


def _nothing_fired(of: Numbers) -> str:
    name, score = metric_in_reason(of["metric"]), plain_score(of["score"])
    return f"No trigger fired: {name} {score} over {of['rows']:,} rows."


# --- clauses and verdicts -------------------------------------------------------------------------------------------


def _split(of: Numbers) -> str:
    better = "closer" if of["regression"] else "right"
    return f"only the challenger is {better} on {of['wins']:,} rows, only the champion on {of['losses']:,}"


def _right_more_often(of: Numbers) -> str:
    split = _split(of)
    return f"{split[0].upper()}{split[1:]}."


def _better_by_metric(of: Numbers) -> str:
    name, gain = metric_in_reason(of["metric"]), of["by"]
    way = "better" if gain > 0 else "worse" if gain < 0 else "no better"
    by = f"{abs(gain):.3f} " if gain else ""
    return f"{name} is {by}{way} than the champion's on the same {of['rows']:,} rows; {_split(of)}."


def _not_worse(of: Numbers) -> str:
    result = "significantly worse" if of["worse"] else "not significantly worse"
    return (
        f"{metric_in_reason(of['metric'])}, challenger minus champion on the same rows: "
        f"{of['value']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f}), {result}."
    )


def _forgetting(of: Numbers) -> str:
    limit = of["limit"]
    allowed = "no limit set" if limit <= 0 else f"a loss of {limit:g} is allowed"
    if limit > 0 and of["answers_change"]:
        allowed += ", or more because the data changed"
    return (
        f"On {of['n']:,} held-out rows of {words.counted(of['regimes'], 'past regime')}: "
        f"challenger {plain_score(of['challenger'])}, champion {plain_score(of['champion'])}; {allowed}."
    )


def _calibration(of: Numbers) -> str:
    what = "Bias in units of the target's spread" if of["regression"] else "Confidence minus accuracy"
    beside = f", champion {of['champion']:+.3f}" if of["champion"] is not None else ""
    allowed = f"up to \u00b1{of['allowed']:.3f} is within sampling error"
    return f"{what}: challenger {of['challenger']:+.3f}{beside}; {allowed}."


def _prediction_time(of: Numbers) -> str:
    limit = f"at most {of['limit']:g} ms allowed" if of["limit"] > 0 else "no limit set"
    return f"Predicting 1,000 rows takes {of['milliseconds']:.1f} ms; {limit}."


# --- scores and estimates --------------------------------------------------------------------------------------------


def _chunks(of: Numbers) -> str:
    return f"the newest {of['chunks']} labelled chunks" if of["chunks"] > 1 else "the one labelled chunk"


def _labels_agree(of: Numbers) -> str:
    agree = f"the labels agree with the estimate (mean z {of['z']:+.1f}, within {of['limit']:.1f})"
    return f"Over {_chunks(of)} {agree}."


def _refuted(of: Numbers) -> str:
    side = "below" if of["z"] < 0 else "above"
    distance = f"the labels are {abs(of['z']):.1f} standard deviations {side} the estimate"
    return f"over {_chunks(of)} {distance} (limit {of['limit']:.1f})."


# --- drift of a column -----------------------------------------------------------------------------------------------


def _chance(of: Numbers) -> str:
    corrected = f" after Holm over {of['tests']:,} tests" if of["tests"] > 1 else ""
    return words.p_value(of["p"]) + corrected


def _size(of: Numbers) -> str:
    """The effect with two decimals, more where it would read as the minimum effect itself."""
    near = abs(of["effect"] - of["gate"]) < 0.005 and of["effect"] != of["gate"]
    return f"{of['measure']} {of['effect']:.{4 if near else 2}f}"


def _median(of: Numbers) -> str:
    before, after = of["before"], of["after"]
    return f"median {words.change(before, after)}" if before != after else f"median {words.figure(before)} in both"


def _new_and_gone(of: Numbers) -> str:
    parts = []
    for word, more in (("new", "more_new"), ("gone", "more_gone")):
        named = [f"'{name}' ({words.share_in_finding(share)} of rows)" for name, share in of[word]]
        beyond = f" and {of[more]:,} more" if of[more] else ""
        if named:
            parts.append(f"{word}: {', '.join(named) + beyond if beyond else words.listed(named)}")
    return "; ".join(parts)


def _missing_moved(of: Numbers) -> str:
    return f"missing in {words.share_change(of['before'], of['after'])} of rows ({_chance(of)})"


def _why(of: Numbers) -> str:
    return sentence(reason_from(of["why"]))


def _another_type_now(of: Numbers) -> str:
    seen = "numbers where text was" if of["numbers"] else "text where numbers were"
    return f"another type: {seen} expected in the current window"


def _answers_compared(of: Numbers) -> str:
    rows = f"v{of['version']} on {of['rows']:,} earlier rows that it was not trained on"
    return f"{sentence(reason_from(of['found'])).rstrip('.')} (reference: {rows})"


def _structure(of: Numbers) -> str:
    step = of["high"] - of["low"]
    band = f"{words.figure(of['low'], step)} to {words.figure(of['high'], step)}"
    return f"reconstruction error {words.figure(of['error'], step)}, expected {band}"


def _change_is(of: Numbers) -> str:
    shares = words.share_change(of["before"], of["after"])
    return f"{words.share_in_finding(of['part'])} of the change is {of['rule']}: {shares} of rows"


def _change_located(of: Numbers) -> str:
    shares = words.share_change(of["before"], of["after"])
    parts = [f"{words.share_in_finding(of['part'])} of it is {of['rule']} ({shares} of rows)"]
    if of["since"] is not None:
        at = datetime.fromisoformat(of["since"])
        parts.append(f"new since {at.day} {at:%b, %H:%M} UTC")
    if of["n"] < of["least"] and (of["n"] > 0 or of["outside"] is not None):
        parts.append(f"{words.metric_in_finding(of['metric'])} there not evaluated (n = {of['n']:,}, too few)")
    elif of["inside"] is not None and of["outside"] is not None:
        parts.append(_score_there(of))
    return "; ".join(parts)


def _score_there(of: Numbers) -> str:
    """`accuracy there is 4.1 points lower (n = 412)`."""
    difference, metric = abs(of["inside"] - of["outside"]), METRICS.get(of["metric"])
    shown = f"{difference * 100:.1f} points" if metric is not None and metric.in_points else words.figure(difference)
    beside = f"{shown} {'higher' if of['inside'] > of['outside'] else 'lower'}"
    if shown in ("0", "0.0 points"):
        beside = "the same"
    return f"{words.metric_in_finding(of['metric'])} there is {beside} (n = {of['n']:,})"


def _leans_on(of: Numbers) -> str:
    if moved := of["moved"]:
        way = "more" if of["after"] > of["before"] else "less"
        also = f"; also changed: {words.listed(moved[1:])}" if len(moved) > 1 else ""
        text = f"The model relies {way} on {moved[0]}: importance {words.change(of['before'], of['after'])}{also}"
    else:
        text = f"The model relies on its features as before ({words.counted(of['judged'], 'feature')} compared)"
    if of["correlation"] is None:
        text += f"; order not compared: fewer than {of['least']} features have a significant importance"
    else:
        text += f"; {_order(of['correlation'])} (rank correlation {of['correlation']:.2f})"
    if of.get("weighed", 0) < of.get("features", 0):
        text += (
            f" (only for the {of['weighed']} features that drifted most; the other "
            f"{of['features'] - of['weighed']:,} were not evaluated)"
        )
    return text


def _order(correlation: float) -> str:
    if correlation >= 0.9:
        return "the order of the features is nearly the same"
    if correlation >= 0.6:
        return "the order of the features changed partly"
    if correlation >= 0.2:
        return "the order of the features changed considerably"
    return "the order of the features is largely unrelated to the earlier one"


def _importance(of: Numbers) -> str:
    return f"importance {words.change(of['before'], of['after'])}, {abs(of['z']):.1f} standard errors"


# A code in the table and its numbers are stored: a code may be added, and stays.
SENTENCES: dict[str, str | Callable[[Numbers], str]] = {
    "text": lambda of: str(of["text"]),
    "together": lambda of: " ".join(_all(of, "parts")),
    # Triggers.
    "no_champion": "There is no champion yet, and {rows:,} labelled rows to train on.",
    "by_hand": "Requested manually.",
    "below_threshold": _below_threshold,
    "below_recent_mean": _below_recent_mean,
    "estimated_below": _estimated_below,
    "errors_changed": "The champion's error rate rose within these rows.",
    "errors_rose": _errors_rose,
    "error_alarm": lambda of: f"{'; '.join(sentence(reason_from(alarm)) for alarm in of['alarms'])}.",
    "error_rose": lambda of: (
        f"{DETECTORS[of['detector']]}: the error rose from {of['before']:.3f} to {of['after']:.3f} since row {of['row']:,}"
    ),
    "drift_share": _drift_share,
    "new_labels": "{rows:,} labelled rows since the last race; the policy races every {every:,}.",
    "age": _age,
    "schedule": "The schedule '{schedule}' (UTC) has come due since the last race.",
    # What delays a race, and why nothing is done.
    "too_few_new_rows": "Too few new labelled rows since the last race: {rows:,} of the {needed:,} needed.",
    "cooldown": lambda of: f"The cooldown ends in {duration(of['seconds'])}.",
    "in_shadow": "A challenger is running in shadow mode.",
    "budget_spent": "The budget is used up: {races} of {budget} races in 24 hours.",
    "too_few_for_the_first": "No champion yet: {rows:,} of the {needed} labelled rows that the first race needs.",
    "nothing_measured": lambda of: (
        f"No trigger fired; there are no labelled rows to measure {metric_in_reason(of['metric'])} on."
    ),
    "nothing_fired": _nothing_fired,
    # Clauses.
    "comparable": "Compared on {rows:,} labelled rows that neither model has seen.",
    "not_comparable": "There are no labelled rows that neither model has seen. Wait for new labels.",
    "fits_schema": "Its predictions fit the project's schema: known classes, finite values, one per row.",
    "right_more_often": _right_more_often,
    "better_by_metric": _better_by_metric,
    "significantly_better": lambda of: (
        f"Test of the difference: {words.p_value(of['p'])} ({of['test']}); at most {of['allowed']} is allowed."
    ),
    "no_paired_interval": "No paired interval: too few rows, or no champion.",
    "not_worse": _not_worse,
    "no_slice": "No slice has enough rows to evaluate.",
    "worst_slice": (
        "Worst slice: {rule} ({n:,} rows). Only the challenger is right on {wins:,}, only the champion on {losses:,}: "
        "p = {p:.3f} (significant below {allowed:.4f} with {tried} slices)."
    ),
    "no_past": "There is no past regime yet.",
    "forgetting": _forgetting,
    "no_calibration": "Its calibration could not be determined from these rows.",
    "calibration": _calibration,
    "not_timed": "Prediction time was not measured: a replay has no clock.",
    "prediction_time": _prediction_time,
    # Scores without a value, or without an interval.
    "no_row_to_compare": "No rows to compare on.",
    "no_interval": "An interval needs two rows.",
    "no_labelled_row": "No labelled rows.",
    "no_row_unseen_by_both": "No labelled rows that neither model has seen.",
    "no_row_new_to_both": "No labelled rows that neither model was trained on.",
    "too_few_rows": "Needs {needed} rows, found {found}.",
    "too_few_labelled_rows": "Needs {needed} labelled rows, found {found}.",
    "no_probabilities": "The predictions have no probabilities.",
    "not_two_classes": "Needs two classes, the model knows {known}.",
    "unknown_class": "Some rows have a class that the model does not know.",
    "one_class": "These rows have only one class.",
    "not_finite": "A value or a probability in these rows is not a finite number.",
    "one_and_the_same_class": "Labels and predictions are all of one class: agreement by chance is complete.",
    "equal_values": "All true values are equal: there is no variance to explain.",
    "in_portions": "The labels arrived in {portions} parts, and this metric needs all rows at once.",
    "needs_answers_alone": "On sampled rows only metrics of the predicted values are available.",
    "untellable": "It cannot be determined from these rows.",
    "not_fitted": "Not fitted.",
    "no_unseen_row": "No rows that it has not seen.",
    "counted_in_shadow": "Counted row by row in shadow mode.",
    # Estimates, and whether labels confirm them.
    "short_reference": "The reference has {rows:,} labelled rows; needs {needed:,}.",
    "one_class_in_reference": "All labels of the reference are of one class.",
    "no_row_in_chunk": "The chunk has no rows.",
    "rows_without_prediction": "{missing:,} of {rows:,} rows have no prediction.",
    "figures_not_finite": "It cannot be determined: the values behind it are not finite.",
    "rows_do_not_say": "It cannot be determined from these rows.",
    "no_pair_to_rank": "All labels would be of one class: there is no pair of rows to rank.",
    "one_and_the_same_class_expected": (
        "Labels and predictions would all be of one class: agreement by chance would be complete."
    ),
    "no_estimate_graded": "No estimate has been checked against labels yet.",
    "not_graded": "No labels have arrived yet to check it against.",
    "labels_agree": _labels_agree,
    "labels_refute": lambda of: f"Not trusted: {_refuted(of)}",
    # Drift: what the tests of a column found, and what happened to it.
    "all_of": lambda of: "; ".join(_all(of, "parts")),
    "above_gate": lambda of: f"{_size(of)}, above the minimum effect {of['gate']:.3g} ({_chance(of)})",
    "within_gate": lambda of: (
        f"{_size(of)}, significant but not above the minimum effect {of['gate']:.3g} ({_chance(of)})"
    ),
    "by_chance": lambda of: f"{_size(of)}, not significant ({_chance(of)})",
    "below_gate": lambda of: f"{_size(of)}, minimum effect {of['gate']:.3g}",
    "missing_moved": _missing_moved,
    "median": _median,
    "varies": lambda of: f"it varies {'more' if of['more'] else 'less'}",
    "values_at_ends": lambda of: f"{'more' if of['more'] else 'fewer'} extreme values",
    "new_and_gone": _new_and_gone,
    "category_moved": lambda of: f"'{of['category']}' {words.share_change(of['before'], of['after'])}",
    "answers_compared": _answers_compared,
    # Why a column was not tested.
    "not_judged": lambda of: f"not tested: {_why(of)}",
    "values_not_judged": lambda of: f"values not tested: {_why(of)}",
    "unfit_window": lambda of: f"{sentence(reason_from(of['seen']))} in the {of['window']} window",
    "type_for_numbers": "{type} where numbers were expected",
    "text_for_numbers": "text where numbers were expected",
    "mixed_types": "mixed types: {bad:,} of {rows:,} values are not numbers",
    "beyond_doubles": "whole numbers outside the range of doubles",
    "another_type": "another type",
    "another_type_now": _another_type_now,
    "types_differ": "its type differs between the windows",
    "column_new": "a new column: it is only in the current window",
    "column_gone": "the column is gone: it is only in the reference window",
    "too_few_rows_in_windows": "{n:,} and {m:,} rows; needs {needed:,} in each window",
    "too_few_values_in_windows": "{n:,} and {m:,} values; needs {needed:,} in each window",
    "all_missing": "every value is missing in both windows",
    "constant_number": lambda of: f"constant: {words.figure(of['value'])} in every row of both windows",
    "constant_category": "constant: '{value}' in every row of both windows",
    "too_many_values": "{found:,} different values, more than {allowed:,}: an id or free text",
    "rare_categories": "none of its {categories:,} categories has enough rows",
    "counts_rows": "it increases from row to row in both windows: a counter or a timestamp",
    "names_rows": "every row has a different whole number in both windows: an id",
    "too_few_answers": (
        "too few predictions for rows that the model was not trained on (at least {needed} before the new ones)"
    ),
    # Drift of all features together, and of the champion's feature importance.
    "structure_broke": lambda of: f"the relations between the features changed: {_structure(of)}",
    "structure_tightened": lambda of: f"the features are more strongly related than before: {_structure(of)}",
    "structure_holds": lambda of: f"the relations between the features are unchanged: {_structure(of)}",
    "too_few_rows_of_window": lambda of: f"{words.counted(of['rows'], 'row')}; needs {of['needed']:,} in each window",
    "too_few_features_vary": (
        lambda of: f"{words.counted(of['features'], 'feature')} with more than one value; needs 2"
    ),
    "change_is": _change_is,
    "change_located": _change_located,
    "leans_on": _leans_on,
    "importance_drifted": lambda of: f"drifted: {_importance(of)}",
    "importance_moved_little": lambda of: f"significant but small: {_importance(of)}",
    "importance_by_chance": lambda of: f"not significant: {_importance(of)}",
    "no_loss_changes": "shuffling it does not change the loss of any prediction in either window",
    # Verdicts.
    "first_model": "This is the first model of the project: there is no champion to compare it with.",
    "no_gate": "This policy promotes every new model.",
    "no_row_to_learn": "There are no labelled rows to train on.",
    "nothing_fitted": lambda of: f"No candidate could be fitted: {'; '.join(of['errors']) or 'nothing was due'}",
    "rolled_back": (
        "On {rows:,} later rows, only version {version}, which was replaced, is right on {wins:,}, only its successor on "
        "{losses:,}. Evidence that it is better: {evidence:.3g} : 1 ({needed:g} : 1 needed)."
    ),
}
