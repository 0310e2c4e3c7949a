"""Drift between two files; uses neither settings nor state."""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from core import words
from core.cli.common import problem_documents, problem_sentences, read_rows, say
from core.cli.options import add_command, add_roles, split_names
from core.errors import NotEnoughRows
from core.records import FeatureSchema
from core.text.reasons import sentence

if TYPE_CHECKING:
    import pandas as pd


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    drift = add_command(
        commands, "drift", _drift, "Drift between two files.", "drift june.csv july.csv --target y --fail-on-drift"
    )
    drift.add_argument("reference", type=Path, metavar="REFERENCE")
    drift.add_argument("current", type=Path, metavar="CURRENT")
    drift.add_argument("--target")
    add_roles(drift)
    drift.add_argument("--multivariate", action="store_true", help="also train a domain classifier")
    drift.add_argument("--explain", action="store_true", help="also describe in a sentence where the drift is")
    drift.add_argument("--fail-on-drift", action="store_true", help="exit 3 when anything drifted")


def _drift(args: argparse.Namespace) -> int:
    import scipy.stats  # noqa: F401  # imported beforehand, so that `seconds` does not include it

    from core.drift.frames import compare, read_alike
    from core.drift.univariate import headline

    before, after = read_rows(args.reference, args.target), read_rows(args.current, args.target)
    started = time.process_time()
    frames = read_alike(
        before.frame,
        after.frame,
        target=args.target,
        id_column=args.id,
        time_column=args.time,
        exclude=split_names(args.exclude),
        categorical=split_names(args.categorical),
    )
    report = compare(frames)
    seconds = time.process_time() - started
    reference, current, schema = frames.reference, frames.current, frames.schema
    problems = (*before.problems, *after.problems, *frames.problems)
    multivariate = explanation = None
    if args.multivariate or args.explain:
        judged = {s.name for s in report.scores if s.judged}
        common = dataclasses.replace(schema, features=tuple(f for f in schema.features if f.name in judged))
        if args.multivariate:
            multivariate = _separability(reference, current, common)
        if args.explain:
            from core.drift.explain import explain

            why = explain(reference, current, common, seed=0)
            explanation = sentence(why) if why is not None else None
    document = {
        "features": report.scores,
        "drifted_features": report.drifted,
        "share_drifted": report.share_drifted,
        "seconds": seconds,
        "multivariate": multivariate,
        "explanation": explanation,
        "label": report.label,
        "problems": problem_documents(problems),
    }
    lines = [
        headline(report),
        *(f"  {s.name}: {sentence(s.reason)}" for s in report.scores if s.drifted or not s.judged),
        *([f"Labels: {sentence(report.label.reason)}"] if report.label is not None else []),
        *([f"All features together: {multivariate['reason']}"] if multivariate is not None else []),
    ]
    say(args, document, "\n".join([*lines, *([explanation] if explanation else []), *problem_sentences(problems)]))
    any_drift = bool(report.drifted) or bool(multivariate and multivariate["drifted"])
    return 3 if args.fail_on_drift and any_drift else 0


class Separability(TypedDict):
    """How well a classifier separates the files, as it is printed."""

    drifted: bool
    auc: float | None
    low: float | None
    high: float | None
    features: dict[str, float]
    reason: str


def _separability(reference: pd.DataFrame, current: pd.DataFrame, schema: FeatureSchema) -> Separability:
    """The domain classifier's result and its reason as a sentence; no numbers where it cannot evaluate the files."""
    from core.drift.multivariate import domain_classifier

    try:
        result = domain_classifier(reference, current, schema)
    except NotEnoughRows as error:
        return Separability(drifted=False, auc=None, low=None, high=None, features={}, reason=f"not judged: {error}")
    size = f"AUC {result.auc:.3f}, 95 % interval {result.low:.3f} to {result.high:.3f}"
    reason = f"the windows are not distinguishable with confidence ({size})"
    if result.drifted:
        by = f", by {words.listed(list(result.features))}" if result.features else ""
        reason = f"the windows are distinguishable{by} ({size})"
    return Separability(
        drifted=result.drifted,
        auc=result.auc,
        low=result.low,
        high=result.high,
        features=result.features,
        reason=reason,
    )
