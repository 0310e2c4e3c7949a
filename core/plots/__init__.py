"""Charts: records in, plotly figures out. Colours are passed as `colors=palette(mode)`; no Streamlit, no clock, no database.

A function raises ValueError when there is nothing to draw; pages decide what to show instead.
"""

from core.plots.answers import GUARD_NAMES, contributions, guard_hits
from core.plots.distributions import distribution_chart
from core.plots.frame import Axes, Event, EventLike, MeasurementLike, Point, points_of
from core.plots.performance import (
    calibration_curve,
    comparison,
    confusion_matrix,
    estimated_points,
    label_arrival,
    light,
    probabilities,
    race,
    slices,
)
from core.plots.policies import policies_over_time
from core.plots.theme import CONFIG, Palette, palette
from core.plots.timeline import (
    EffectSeries,
    ScoreHistory,
    effect_over_time,
    evidence_over_time,
    performance_finding,
    performance_over_time,
    trend_series,
    versions,
)

__all__ = [
    "CONFIG",
    "GUARD_NAMES",
    "Axes",
    "EffectSeries",
    "Event",
    "EventLike",
    "MeasurementLike",
    "Palette",
    "Point",
    "ScoreHistory",
    "calibration_curve",
    "comparison",
    "confusion_matrix",
    "contributions",
    "distribution_chart",
    "effect_over_time",
    "estimated_points",
    "evidence_over_time",
    "guard_hits",
    "label_arrival",
    "light",
    "palette",
    "performance_finding",
    "performance_over_time",
    "points_of",
    "policies_over_time",
    "probabilities",
    "race",
    "slices",
    "trend_series",
    "versions",
]
