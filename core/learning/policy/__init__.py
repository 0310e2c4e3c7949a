"""When to retrain and what promotes a challenger: data (`Policy`), triggers, clauses, and the decisions made from them.

Everything here is a pure function of its arguments: a stored evidence replayed through `decide` gives the stored
decision. No sklearn: pages import this package.
"""

from core.learning.policy.clauses import CLAUSES, EVIDENCE_NEEDED, GATES, HOLD_OUTS, MCNEMAR_ALPHA, verdict
from core.learning.policy.common import AND, FAMILY_LABELS
from core.learning.policy.deciding import BY_HAND, decide, same_decision
from core.learning.policy.describing import describe
from core.learning.policy.documents import FIELDS, policy_from_document, policy_to_document
from core.learning.policy.presets import POLICIES, policy_named
from core.learning.policy.rules import NumberIn, OneOf, Rule, Whole
from core.learning.policy.schedule import next_scheduled
from core.learning.policy.triggers import FIRST_RACE_ROWS, OLD_SIGMA, RISE_NEEDED, TRIGGERS

__all__ = [
    "AND",
    "BY_HAND",
    "CLAUSES",
    "EVIDENCE_NEEDED",
    "FAMILY_LABELS",
    "FIELDS",
    "FIRST_RACE_ROWS",
    "GATES",
    "HOLD_OUTS",
    "MCNEMAR_ALPHA",
    "OLD_SIGMA",
    "POLICIES",
    "RISE_NEEDED",
    "TRIGGERS",
    "NumberIn",
    "OneOf",
    "Rule",
    "Whole",
    "decide",
    "describe",
    "next_scheduled",
    "policy_from_document",
    "policy_named",
    "policy_to_document",
    "same_decision",
    "verdict",
]
