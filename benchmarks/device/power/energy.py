"""Compute energy from power samples: choose the power rails that supply the whole board, and integrate over a period of time.

A rail is a supply line whose power a sensor measures, such as VDD_IN. A rail may supply other rails, whose power must not be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

# The energy of a shorter window is too noisy.
LEAST_S = 10.0
# With a longer gap between samples, or at the ends of a window, the integral would be a guess.
MOST_GAP_S = 1.0
# Each of these rails supplies all other rails: VIN on a Thor, the next two on modules with one input, and the last on a graphics card.
WHOLE = ("VIN", "VDD_IN", "POM_5V_IN", "GPU_BOARD")
# On other boards (AGX Orin, then AGX Xavier), the sum of these rails is the power of the whole board. They also supply the VDDQ rails.
SUMS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"))
INNER = "VDDQ"


class Sample(NamedTuple):
    """The power of every rail, in mW, at the time `at_s`, in seconds of the clock that also times the models."""

    at_s: float
    rails_mw: Mapping[str, float]


class Total(NamedTuple):
    """The rails whose sum counts as the board's power.

    `known` is False if the rails are not those of a known board. `rails` are then all rails except those whose names begin with VDDQ,
    and their sum may be wrong.
    """

    rails: tuple[str, ...]
    known: bool

    @property
    def name(self) -> str:
        """Return the names of the rails, joined: `VDD_IN`, or `VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0`."""
        return "+".join(self.rails)


class Window(NamedTuple):
    """A period of time: its start and end, in seconds of the clock that also times the models."""

    start_s: float
    end_s: float


def total_of(names: Collection[str]) -> Total | None:
    """Return the rails whose sum is the power of a board that has the rails `names`, or None if `names` is empty."""
    for whole in WHOLE:
        if whole in names:
            return Total((whole,), True)
    for parts in SUMS:
        if set(parts) <= set(names):
            return Total(parts, True)
    outer = tuple(name for name in names if not name.startswith(INNER))
    return Total(outer, False) if outer else None


def total_in(samples: Sequence[Sample]) -> Total | None:
    """Return the rails whose sum is the board's power in these samples, or None if no rail is in most of them.

    Only rails that are in most samples are used, because a damaged line of tegrastats may contain wrong names.
    """
    counts = Counter(name for sample in samples for name in sample.rails_mw)
    with_rails = sum(bool(sample.rails_mw) for sample in samples)
    return total_of([name for name, count in counts.items() if 2 * count > with_rails])


def integral_j(samples: Sequence[tuple[float, float]], window: Window) -> float:
    """Return the energy in joules in the window: the integral of `samples` (seconds, watts) by the trapezoidal rule.

    At least one sample must be inside the window. Before the first sample in the window, the power counts as equal to that of the
    first sample. After the last sample in the window, it counts as equal to that of the last sample.
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
    """Return a dictionary with the energy per image, in joules. `images` is the number of images that were processed in `window`.

    The keys are {rail, rail_known, gross_j_per_image, net_j_per_image, mean_w, idle_w, rails_w, window_s, images, samples,
    incomplete, why}. `rail` names the rails whose sum counts as the whole board, and `rails_w` has the mean power of each rail. The
    gross energy is all energy of the board. For the net energy, the mean power in the `idle` window (`idle_w`) is subtracted.

    The power and energy of a window are None in three cases: `samples` contain no rails, the window is shorter than `least_s`
    seconds, or more than MOST_GAP_S seconds of it pass without a usable sample. `why` says in one sentence why the values for `window`
    are None, or is None if they are not. The net energy is also None if `idle_w` is None. `samples` in the result is the number of
    usable samples in `window`. `incomplete` is the number of the others, which lack one of the rails or have no power above 0.
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
    """Return the mean power in watts over the window, as the sum of `rails`.

    Returns None if the window is shorter than `least_s` seconds, or if more than MOST_GAP_S seconds of it pass without a sample that
    has all of `rails`.
    """
    power = watts([sample for sample in samples if window.start_s <= sample.at_s <= window.end_s], rails)
    if _problem([at_s for at_s, _ in power], window, least_s):
        return None
    return integral_j(power, window) / (window.end_s - window.start_s)


def watts(samples: Sequence[Sample], rails: Sequence[str]) -> list[tuple[float, float]]:
    """Return (seconds, watts) of each sample that has all of `rails` and a power above 0. The watts are the sum of these rails."""
    complete = [sample for sample in samples if rails and all(name in sample.rails_mw for name in rails)]
    power = [(sample.at_s, sum(sample.rails_mw[name] for name in rails) / 1000) for sample in complete]
    # A running board needs some power, so a sum of 0 is an error, although a single rail may read slightly below 0.
    return [(at_s, sum_w) for at_s, sum_w in power if sum_w > 0]


def _problem(times: Sequence[float], window: Window, least_s: float) -> str | None:
    length = window.end_s - window.start_s
    if length < least_s:
        return f"the measurement lasted {length:.1f} s, but at least {least_s:g} s are needed"
    marks = [window.start_s, *times, window.end_s]
    gap = max(after - before for before, after in zip(marks, marks[1:]))
    return f"the power was not sampled for {gap:.1f} s" if gap > MOST_GAP_S or not times else None


def _means(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the mean power of each rail in watts, over the samples that have this rail."""
    watts_of_rail: dict[str, list[float]] = {}
    for sample in samples:
        for name, milliwatts in sample.rails_mw.items():
            watts_of_rail.setdefault(name, []).append(milliwatts / 1000)
    return {name: sum(values) / len(values) for name, values in watts_of_rail.items()}
