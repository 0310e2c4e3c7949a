"""What triggers, clauses, documents and descriptions of policies share: names."""

from __future__ import annotations

AND = "+"  # joins triggers that have to fire together

# The kinds of model that a policy may name, in words; `models.MODEL_FAMILIES` builds them. Here, because a page that
# offers them does not load sklearn.
FAMILY_LABELS: dict[str, str] = {
    "logistic": "logistic regression",
    "ridge": "ridge regression",
    "boosting": "gradient boosting",
    "dated_boosting": "gradient boosting with row number",
    "linear_boosting": "linear with boosting on its residuals",
    "extra_trees": "extra-trees",
    "neighbours": "nearest neighbours",
    "constant": "constant",
}
