"""The methods, levels and trials of the study, and the search for a count that meets a trial's budget. Reads no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.errors import ConfigError

# The name of a pruning level -> the fractions of the heads and of the patch tokens that AMG removes. The macs_folded of the model
# that AMG prunes are the budget of the other methods at this level.
LEVELS = {"h25_t25": (0.25, 0.25), "h40_t40": (0.40, 0.40)}
# The relative distance from the budget within which two costs count as equal.
TOLERANCE = 0.005


@dataclass(frozen=True)
class Method:
    """A pruning method: its title in tables, and the settings of prune.py with which it prunes.

    `heads` is its value of the setting `prune.heads.by`, `tokens` that of `prune.tokens.by`, and `mode` that of `prune.mode`.
    """

    title: str
    heads: str = "entropy"
    tokens: str = "importance"
    mode: str = "bypass"


METHODS = {
    "amg": Method("AMG"),
    "amg_kv": Method("AMG, keys and values only", mode="kv"),
    "random": Method("random heads and tokens", heads="random", tokens="random"),
    "random_heads": Method("random heads, AMG tokens", heads="random"),
    "random_tokens": Method("AMG heads, random tokens", tokens="random"),
    "class_attention": Method("AMG heads, tokens by class attention", tokens="class_attention"),
    "magnitude": Method("heads by magnitude, AMG tokens", heads="magnitude"),
}
BUDGET = "amg"
# The trials that prune nothing: the teacher itself, and the teacher after the fine-tuning that every trial gets.
TEACHER, TUNED = "teacher", "tuned"
UNPRUNED = {TEACHER: "teacher", TUNED: "fine-tuned teacher"}


@dataclass(frozen=True)
class Trial:
    """One model of the study: a pruning method at a level ("" for an unpruned model) with a seed (0 for the teacher)."""

    method: str
    level: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Return the trial's name, which its file names begin with, such as `amg-h25_t25-1`, `tuned-1` or `teacher`."""
        return "-".join(part for part in (self.method, self.level, str(self.seed or "")) if part)


def waves(methods: Sequence[str], seeds: Sequence[int]) -> tuple[list[Trial], list[Trial]]:
    """Return two lists of trials. The trials of the second list can run only when those of the first are finished.

    The first list has the teacher, the fine-tuned teacher with each seed, and AMG at each level with each seed, even if `methods` does
    not name AMG. The second list has the other methods in `methods`, at each level with each seed. They need the
    results of AMG, because the cost of AMG's model is their budget. Raises ConfigError for an unknown method, for no seeds, for a
    repeated seed and for a seed below 1.
    """
    if unknown := [name for name in methods if name not in METHODS]:
        raise ConfigError(f"--methods: there is no method {unknown[0]}; choose from {', '.join(METHODS)}")
    if not seeds or min(seeds) < 1 or len(set(seeds)) < len(seeds):
        raise ConfigError(
            "--seeds: a seed is below 1 or repeated; give different whole numbers, such as 1,2,3"
        )
    first = [Trial(TEACHER), *(Trial(TUNED, seed=seed) for seed in seeds)]
    first += [Trial(BUDGET, level, seed) for level in LEVELS for seed in seeds]
    others = [name for name in METHODS if name in methods and name != BUDGET]
    return first, [Trial(name, level, seed) for level in LEVELS for name in others for seed in seeds]


def nearest_count(macs: Callable[[int], int], target: int, most: int) -> int:
    """Return how many tokens or neurons to remove from a model, 0 to `most`, so that its cost comes nearest to `target`.

    `macs(count)` is the cost of the model, in multiply-adds, after `count` of them are removed. It must not rise with the count. Of
    two counts that are equally near, the smaller one is returned. If the cost is above the target even for `most`, the result is
    `most`.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs(middle) <= target else (middle + 1, high)
    if low and abs(macs(low - 1) - target) <= abs(macs(low) - target):
        return low - 1
    return low


def meets_budget(macs: int, target: int) -> bool:
    """Return whether the cost `macs` differs from the budget `target`, both in multiply-adds, by at most TOLERANCE * target."""
    return abs(macs - target) <= TOLERANCE * target
