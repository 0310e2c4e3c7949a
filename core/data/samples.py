"""The data sets that come with the program; their content and origin are described in data/samples/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import NotFound

_FOLDER = Path(__file__).resolve().parents[2] / "data" / "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A bundled stream: its first rows make a project, the rest arrives batch by batch."""

    file: str
    target: str
    title: str
    description: str
    threshold: float  # of accuracy, below which the model is retrained
    warm_up_rows: int
    batch_rows: int


def sample_path(name: str = "insects") -> Path:
    """The path of a sample's file.

    Raises:
        NotFound: no sample of that name.
    """
    if name not in SAMPLES:
        raise NotFound(f"There is no sample '{name}'. Choose one of: {', '.join(SAMPLES)}.")
    return _FOLDER / SAMPLES[name].file


SAMPLES: dict[str, Sample] = {
    "insects": Sample(
        file="insects.csv.gz",
        target="y",
        title="Insects under rising temperature",
        description=(
            "Flying insects, six kinds in equal numbers, recognised by an optical sensor while the temperature in the "
            "chamber drifts: 24,150 flights in stream order, 33 measures of the signal of each."
        ),
        threshold=0.70,  # over six equal classes, where guessing has .17, .70 is good
        warm_up_rows=1000,
        batch_rows=500,
    ),
}
