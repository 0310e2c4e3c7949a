"""Why this prediction: the contribution of each feature."""

from __future__ import annotations

from core import plots, ui, words
from core.learning.contributions import Explanation

METHODS = {"linear": "exact", "trees": "exact", "permutation": "estimated from sampled orders of the features"}
READ_ALOUD = 10  # features in the words for screen readers


def show(ctx: ui.Context, why: Explanation, target: str) -> None:
    """Contributions of the features to the prediction."""
    ranked = sorted(why.contributions, key=lambda c: -abs(c[2]))
    first = ranked[0]
    of = f"{target} = {ui.plain(str(why.of))}" if why.of is not None else target
    finding = f"Why: {ui.plain(first[0])} contributes most" if first[2] else "Why: no feature makes a difference here"
    caption = (
        f"What each feature adds to the {why.unit} of {of}: {words.three_figures(why.base)} for typical rows, "
        f"{words.three_figures(why.answer)} for this one · {METHODS[why.method]}"
    )
    with ui.card(finding, caption):
        ui.chart(
            plots.contributions(why.contributions, colors=ctx.colors),
            key="why",
            alt="; ".join(f"{feature}: {words.contribution(amount)}" for feature, _, amount in ranked[:READ_ALOUD]),
        )
