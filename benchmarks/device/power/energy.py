"""Compute energy from samples of power rails: choose the rails of the whole board, and integrate over a window of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

# The energy of a shorter window is too noisy.
LEAST_S = 10.0
# With a longer gap between samples, or at the ends of a window, the integral would be a guess.
MOST_GAP_S = 1.0
# Rails that supply all others: Thor's, then those of modules with one input, then a graphics card as its driver counts it.
WHOLE = ("VIN", "VDD_IN", "POM_5V_IN", "GPU_BOARD")
# Boards without such a rail (AGX Orin; AGX Xavier): the rails whose sum is the whole board. Their VDDQ rails are supplied by these.
SUMS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
INNER = "VDDQ"


class Sample(NamedTuple):
    """The power of every rail in mW at one moment of the bench's clock."""

    at_s: float
    rails_mw: Mapping[str, float]


class Total(NamedTuple):
    """The rails whose sum is the board's power.

    `known` is False where the board is unknown, and the sum of all its rails is taken instead.
    """

    rails: tuple[str, ...]
    known: bool

    @property
    def name(self) -> str:
        """The names of the rails: `VDD_IN`, or `VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0`."""
        return "+".join(self.rails)


class Window(NamedTuple):
    """The start and end of a window of time, in seconds of the bench's clock."""

    start_s: float
    end_s: float


def total_of(names: Collection[str]) -> Total | None:
    """Return the rails that give the power of a board with the rails `names`; None without any."""
    for whole in WHOLE:
        if whole in names:
            return Total((whole,), True)
    for parts in SUMS:
        if set(parts) <= set(names):
            return Total(parts, True)
    outer = tuple(name for name in names if not name.startswith(INNER))
    return Total(outer, False) if outer else None


def total_in(samples: Sequence[Sample]) -> Total | None:
    """Return the rails that give the board's power in these samples; None without any.

    Only rails that most samples have count, because a broken line may name others.
    """
    counts = Counter(name for sample in samples for name in sample.rails_mw)
    with_rails = sum(bool(sample.rails_mw) for sample in samples)
    return total_of([name for name, count in counts.items() if 2 * count > with_rails])


def integral_j(samples: Sequence[tuple[float, float]], window: Window) -> float:
    """Integrate (seconds, watts) samples over the window with the trapezoidal rule, in joules.

    The first and the last value inside extend to the ends of the window.
    """
    inside = [sample for sample in samples if window.start_s <= sample[0] <= window.end_s]
    points = [(window.start_s, inside[0][1]), *inside, (window.end_s, inside[-1][1])]
    return sum(
        (end_s - start_s) * (start_w + end_w) / 2
        for (start_s, start_w), (end_s, end_w) in zip(points, points[1:])
    )


def energy(
    samples: Sequence[Sample], window: Window, *, images: int, idle: Window | None, least_s: float = LEAST_S
) -> dict[str, Any]:
    """Return the energy of `images` images in the window.

    The keys are {rail, rail_known, gross_j_per_image, net_j_per_image, mean_w, idle_w, rails_w, window_s, images, samples,
    incomplete, why}. `rail` names the rails that count as the whole board. The net energy excludes the mean power of the `idle`
    window. A value that the samples do not give is null, and `why` gives the reason: no sensor, a window shorter than
    `least_s`, or a gap in the samples. `incomplete` counts the samples that lack a rail of the total or have no power.
    """
    total = total_in(samples)
    inside = [sample for sample in samples if window.start_s <= sample.at_s <= window.end_s]
    power = watts(inside, total.rails if total else ())
    why = _problem([at_s for at_s, _ in power], window, least_s) if total else "no power sensor can be read"
    mean = None if why else integral_j(power, window) / (window.end_s - window.start_s)
    idle_w = mean_w(samples, idle, total.rails, least_s) if total and idle else None
    per_image = (window.end_s - window.start_s) / images
    return {
        "rail": total.name if total else None,
        "rail_known": total.known if total else None,
        "gross_j_per_image": None if mean is None else mean * per_image,
        "net_j_per_image": None if mean is None or idle_w is None else (mean - idle_w) * per_image,
        "mean_w": mean,
        "idle_w": idle_w,
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
    """Return the mean power of the rails' sum over the window in watts; None where the samples do not give it."""
    power = watts([sample for sample in samples if window.start_s <= sample.at_s <= window.end_s], rails)
    if _problem([at_s for at_s, _ in power], window, least_s):
        return None
    return integral_j(power, window) / (window.end_s - window.start_s)


def watts(samples: Sequence[Sample], rails: Sequence[str]) -> list[tuple[float, float]]:
    """Return (seconds, watts of the rails' sum) of the samples that have all the rails and more than 0 W."""
    complete = [sample for sample in samples if rails and all(name in sample.rails_mw for name in rails)]
    power = [(sample.at_s, sum(sample.rails_mw[name] for name in rails) / 1000) for sample in complete]
    # a running board needs some power, although a single rail may read slightly below 0
    return [(at_s, sum_w) for at_s, sum_w in power if sum_w > 0]


def _problem(times: Sequence[float], window: Window, least_s: float) -> str | None:
    length = window.end_s - window.start_s
    if length < least_s:
        return f"the window is {length:.1f} s long, but at least {least_s:g} s are needed"
    marks = [window.start_s, *times, window.end_s]
    gap = max(after - before for before, after in zip(marks, marks[1:]))
    return f"the power was not sampled for {gap:.1f} s" if gap > MOST_GAP_S or not times else None


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the mean power of every rail, in watts, over the samples that have it."""
    watts_of_rail: dict[str, list[float]] = {}
    for sample in samples:
        for name, milliwatts in sample.rails_mw.items():
            watts_of_rail.setdefault(name, []).append(milliwatts / 1000)
    return {name: sum(values) / len(values) for name, values in watts_of_rail.items()}
