"""The ways to prune that are compared beyond AMG, their levels, and the trials of the comparison. Reads no model and no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.study.plan import BUDGET, METHODS, TEACHER, Trial
from runtime.errors import ConfigError

# Level -> fractions of heads and tokens that AMG removes: the study's two levels and one between them.
LEVELS = {"h25_t25": (0.25, 0.25), "h33_t33": (0.33, 0.33), "h40_t40": (0.40, 0.40)}


@dataclass(frozen=True)
class Recipe:
    """A way to prune, in this order: whole blocks, heads, tokens, and then what `match` names, until AMG's cost is met.

    `blocks` is the number of whole blocks at each level. `heads` and `tokens` are shares of the level's fractions. `match` is
    "neurons", "tokens" or "nothing"; neurons are the lowest scores `within` the "model", or equally many in every "block".
    """

    title: str
    blocks: tuple[int, int, int] = (0, 0, 0)
    heads: float = 0.0
    tokens: float = 0.0
    match: str = "neurons"
    within: str = "model"


RECIPES = {
    "mlp_even": Recipe("MLP neurons, as many in every block", within="block"),
    "mlp": Recipe("MLP neurons, the lowest of all blocks"),
    "tokens_mlp": Recipe("AMG's tokens, then MLP neurons", tokens=1.0),
    "mix": Recipe("60 % of AMG's tokens, then MLP neurons", tokens=0.6),
    "heads_mlp": Recipe("AMG's heads, then MLP neurons", heads=1.0),
    "blocks_tokens": Recipe("whole blocks, then AMG's tokens", blocks=(1, 1, 2), match="tokens"),
    "blocks": Recipe("whole blocks", blocks=(2, 2, 3), match="nothing"),
}
# Methods that the study has too. Their trials run in the same way here, so that their models can be timed.
STUDIED = ("amg", "random")


def method_title(method: str) -> str:
    """Return the title of a method in tables and charts."""
    if method == TEACHER:
        return "teacher"
    return RECIPES[method].title if method in RECIPES else METHODS[method].title


def waves(
    methods: Sequence[str], levels: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Trial], list[Trial]]:
    """Return two waves of trials: the teacher and AMG, which sets the budgets, then the other methods, seed by seed.

    Raises ConfigError for an unknown method or level, and for a seed below 1.
    """
    known = [*STUDIED, *RECIPES]
    if unknown := [name for name in methods if name not in known]:
        raise ConfigError(f"--methods {unknown[0]}: choose from {', '.join(known)}")
    if unknown := [name for name in levels if name not in LEVELS]:
        raise ConfigError(f"--levels {unknown[0]}: choose from {', '.join(LEVELS)}")
    if not seeds or min(seeds) < 1:
        raise ConfigError("--seeds: give whole numbers from 1, such as 1,2,3")
    first = [Trial(TEACHER), *(Trial(BUDGET, level, seed) for level in levels for seed in seeds)]
    others = [name for name in methods if name != BUDGET]
    return first, [Trial(name, level, seed) for level in levels for seed in seeds for name in others]
