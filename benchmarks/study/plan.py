"""Which cells the comparison of pruning methods has, and how a cell meets its budget. Knows no model and no files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runtime.errors import ConfigError

# level -> fractions of the heads and of the patch tokens that AMG removes; its macs_folded are the others' budget
LEVELS = {"h25_t25": (0.25, 0.25), "h40_t40": (0.40, 0.40)}
# how far from the budget a cell may be and still count as equal
TOLERANCE = 0.005


@dataclass(frozen=True)
class Method:
    """What goes by which criterion (prune.heads.by, prune.tokens.by), and what a pruned token skips."""

    words: str
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
# cells that prune nothing: the model as it is, and the same fine-tuning on it
TEACHER, TUNED = "teacher", "tuned"
UNPRUNED = {TEACHER: "teacher", TUNED: "teacher, fine-tuned"}


@dataclass(frozen=True)
class Cell:
    """One model of the comparison: a method, a level ("" where nothing is pruned) and a seed (0: none is used)."""

    method: str
    level: str = ""
    seed: int = 0

    @property
    def name(self) -> str:
        """Its file's name: `amg-h25_t25-1`, `tuned-1`, `teacher`."""
        return "-".join(part for part in (self.method, self.level, str(self.seed or "")) if part)


def waves(methods: Sequence[str], seeds: Sequence[int]) -> tuple[list[Cell], list[Cell]]:
    """(the cells that need no other, those whose budget one of the first sets); AMG is always among the first.

    ConfigError for a method that is not known, no seeds, one twice or one below 1.
    """
    if unknown := [name for name in methods if name not in METHODS]:
        raise ConfigError(f"--methods {unknown[0]}: choose from {', '.join(METHODS)}")
    if not seeds or min(seeds) < 1 or len(set(seeds)) < len(seeds):
        raise ConfigError("--seeds: give different whole numbers from 1, such as 1,2,3")
    first = [Cell(TEACHER), *(Cell(TUNED, seed=seed) for seed in seeds)]
    first += [Cell(BUDGET, level, seed) for level in LEVELS for seed in seeds]
    others = [name for name in METHODS if name in methods and name != BUDGET]
    return first, [Cell(name, level, seed) for level in LEVELS for name in others for seed in seeds]


def matched(macs: Callable[[int], int], target: int, most: int) -> int:
    """The count 0..most whose `macs(count)` is nearest to `target`, the smaller one of two.

    `macs` must not rise with the count. Where even `most` costs more than the target, that is `most`.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if macs(middle) <= target else (middle + 1, high)
    if low and abs(macs(low - 1) - target) <= abs(macs(low) - target):
        return low - 1
    return low


def within(macs: int, target: int) -> bool:
    """Whether two costs count as equal."""
    return abs(macs - target) <= TOLERANCE * target
