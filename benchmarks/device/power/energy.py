"""Energy from samples of power rails: which rail is the whole board, and the integral over a window. Reads no sensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

# Shorter windows are noise.
LEAST_S = 10.0
# A longer silence of the sensor within a window, or at its ends, leaves the integral to guessing.
MOST_GAP_S = 1.0
# Rails that carry all the others: Thor's, then those of modules with one input, then a graphics card as its driver counts it.
WHOLE = ("VIN", "VDD_IN", "POM_5V_IN", "GPU_BOARD")
# Boards without such a rail: what adds up to all of it (AGX Orin; AGX Xavier). Their VDDQ rails hang behind these.
SUMS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
INNER = "VDDQ"


class Sample(NamedTuple):
    """The rails in mW at one moment of the bench's clock."""

    at_s: float
    rails_mw: Mapping[str, float]


class Total(NamedTuple):
    """The rails whose sum is the board's power; `known` False where that is only the sum of all that are there."""

    rails: tuple[str, ...]
    known: bool

    @property
    def name(self) -> str:
        """`VDD_IN`, or `VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0`."""
        return "+".join(self.rails)


class Window(NamedTuple):
    """From when to when, in seconds of the bench's clock."""

    start_s: float
    end_s: float


def total_of(names: Collection[str]) -> Total | None:
    """What the power of a board with these rails is read from; None without any."""
    for whole in WHOLE:
        if whole in names:
            return Total((whole,), True)
    for parts in SUMS:
        if set(parts) <= set(names):
            return Total(parts, True)
    rest = tuple(name for name in names if not name.startswith(INNER))
    return Total(rest, False) if rest else None


def total_in(samples: Sequence[Sample]) -> Total | None:
    """What the power of the board is read from in these samples: of rails that most of them have, a broken line may name others."""
    counts = Counter(name for sample in samples for name in sample.rails_mw)
    spoken = sum(bool(sample.rails_mw) for sample in samples)
    return total_of([name for name, count in counts.items() if 2 * count > spoken])


def integral_j(samples: Sequence[tuple[float, float]], window: Window) -> float:
    """Joules of (seconds, watts) samples over the window by trapezoids; the first and last value hold to its ends."""
    inside = [one for one in samples if window.start_s <= one[0] <= window.end_s]
    ends = [(window.start_s, inside[0][1]), *inside, (window.end_s, inside[-1][1])]
    return sum((at - before) * (one + other) / 2 for (before, one), (at, other) in zip(ends, ends[1:]))


def energy(
    samples: Sequence[Sample], window: Window, *, images: int, idle: Window | None, least_s: float = LEAST_S
) -> dict[str, Any]:
    """What `images` images took in the window: {rail, rail_known, gross_j_per_image, net_j_per_image, mean_w, idle_w, ...}.

    `rail` names what counts as the whole board. `net` is without the mean power of the `idle` window. A value that the samples
    do not give is null, and `why` says so: no sensor, a window under `least_s`, a gap in the samples. `incomplete` counts
    samples that lack a part of the total or whose total is none.
    """
    total = total_in(samples)
    inside = [one for one in samples if window.start_s <= one.at_s <= window.end_s]
    power = watts(inside, total.rails if total else ())
    why = _doubt([at for at, _ in power], window, least_s) if total else "no power sensor that can be read"
    mean = None if why else integral_j(power, window) / (window.end_s - window.start_s)
    quiet = mean_w(samples, idle, total.rails, least_s) if total and idle else None
    per_image = (window.end_s - window.start_s) / images
    return {
        "rail": total.name if total else None,
        "rail_known": total.known if total else None,
        "gross_j_per_image": None if mean is None else mean * per_image,
        "net_j_per_image": None if mean is None or quiet is None else (mean - quiet) * per_image,
        "mean_w": mean,
        "idle_w": quiet,
        "rails_w": _means(inside),
        "window_s": window.end_s - window.start_s,
        "images": images,
        "samples": len(power),
        "incomplete": len(inside) - len(power) if total else 0,
        "why": why,
    }


def mean_w(
    samples: Sequence[Sample], window: Window, rails: Sequence[str], least_s: float = LEAST_S
) -> float | None:
    """Mean watts of the rails' sum over the window; None where the samples do not give it."""
    power = watts([one for one in samples if window.start_s <= one.at_s <= window.end_s], rails)
    if _doubt([at for at, _ in power], window, least_s):
        return None
    return integral_j(power, window) / (window.end_s - window.start_s)


def watts(samples: Sequence[Sample], rails: Sequence[str]) -> list[tuple[float, float]]:
    """(seconds, watts of the rails' sum) of the samples that have all of the rails and more than 0 W."""
    whole = [one for one in samples if rails and all(name in one.rails_mw for name in rails)]
    power = [(one.at_s, sum(one.rails_mw[name] for name in rails) / 1000) for one in whole]
    # a board that is on takes some; single rails may read a little below 0
    return [one for one in power if one[1] > 0]


def _doubt(times: Sequence[float], window: Window, least_s: float) -> str | None:
    length = window.end_s - window.start_s
    if length < least_s:
        return f"a window of {length:.1f} s; at least {least_s:g} s are needed"
    marks = [window.start_s, *times, window.end_s]
    gap = max(after - before for before, after in zip(marks, marks[1:]))
    return f"no sample of power for {gap:.1f} s" if gap > MOST_GAP_S or not times else None


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    """Mean watts of every rail over the samples that have it."""
    values: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.rails_mw.items():
            values.setdefault(name, []).append(value / 1000)
    return {name: sum(found) / len(found) for name, found in values.items()}
