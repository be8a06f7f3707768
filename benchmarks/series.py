"""Repeated measurements, interleaved, so that what else the machine does falls on all alike."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: What one measurement gives: figures by name.
Figures = dict[str, Any]


@dataclass
class Series:
    """All measurements of one thing. ``baseline`` is what its ratios are taken to."""

    label: str
    baseline: Series | None = field(default=None, repr=False)
    figures: list[Figures] = field(default_factory=list)

    def values(self, name: str) -> list[float]:
        """Give one figure of every repeat."""
        return [float(one[name]) for one in self.figures]

    def median(self, name: str) -> float:
        """Give the median of a figure over the repeats."""
        return statistics.median(self.values(name))

    def ratio(self, name: str) -> float | None:
        """Give the median of the ratios to the baseline, each within one repeat; None for a baseline."""
        if self.baseline is None:
            return None
        pairs = zip(self.values(name), self.baseline.values(name), strict=True)
        return statistics.median(own / other for own, other in pairs)


def interleave(
    series: Sequence[Series], repeats: int, measure: Callable[[Series], Figures], say: Callable[[str], None]
) -> None:
    """Measure every series ``repeats`` times: one of each, then one of each again, in changing order."""
    for repeat in range(repeats):
        start = repeat % len(series)
        for one in (*series[start:], *series[:start]):
            one.figures.append(measure(one))
        say(f"  {repeat + 1} of {repeats}")
