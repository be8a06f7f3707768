"""Functions that the examples call with `uses: tasks/<function>@<tag>`."""

from __future__ import annotations

from airflow_stagecoach import tag


@tag("v1")
def render_table(title: str, rows: dict[str, int]) -> dict[str, str]:
    """Give a small text table. The arguments are checked against the type hints before the call."""
    width = max([len(title), *map(len, rows)])
    lines = [title, "-" * (width + 8)]
    lines += [f"{name:<{width}} {number:>7}" for name, number in rows.items()]
    return {"text": "\n".join(lines)}


@tag("v1", alias="smooth")
def exponential_smoothing(series: list[float], alpha: float, weekly: bool = False) -> dict[str, float]:
    """Forecast each value of a series from those before it, and give the mean error and the next value."""
    lag = 7 if weekly else 1
    levels = [float(value) for value in series[:lag]]
    errors: list[float] = []
    for position in range(lag, len(series)):
        slot = position % lag
        errors.append(abs(series[position] - levels[slot]))
        levels[slot] = alpha * series[position] + (1 - alpha) * levels[slot]
    return {"error": round(sum(errors) / len(errors), 3), "forecast": round(levels[len(series) % lag], 3)}
