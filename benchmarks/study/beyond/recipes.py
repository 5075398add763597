"""The pruning methods that are compared with AMG, the pruning levels, and the trials of the study. Reads no model and no file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.study.plan import BUDGET, METHODS, TEACHER, Trial
from runtime.errors import ConfigError

# The name of a level -> the fractions of heads and tokens that AMG removes: the two levels of `benchmarks.study` and one between them.
LEVELS = {"h25_t25": (0.25, 0.25), "h33_t33": (0.33, 0.33), "h40_t40": (0.40, 0.40)}


@dataclass(frozen=True)
class Recipe:
    """How a method prunes: it removes fixed numbers of blocks, heads and tokens, and then neurons or tokens to match AMG's cost.

    The last step removes so many of `match` that the cost comes nearest to that of AMG at the same level. With `match` "nothing",
    this step is left out, and the cost may differ from that of AMG.

    `title` is the method's name in tables and charts. `blocks` is the number of whole blocks to remove at each of the three LEVELS.
    `heads` and `tokens` are relative to AMG at the same level: 0.6 means 60 % of the heads or tokens that AMG removes. `match` is
    "neurons" (of the MLPs), "tokens" or "nothing". With `within` "model", the neurons with the lowest scores in the whole model are
    removed. With "block", equally many are removed in each block.
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
# Methods that `benchmarks.study` has too. Their trials run here as there, so that their models can be timed.
STUDIED = ("amg", "random")


def method_title(method: str) -> str:
    """Return the title of a method for tables and charts. `method` is "teacher", "amg", "random" or a key of RECIPES."""
    if method == TEACHER:
        return "teacher"
    return RECIPES[method].title if method in RECIPES else METHODS[method].title


def waves(
    methods: Sequence[str], levels: Sequence[str], seeds: Sequence[int]
) -> tuple[list[Trial], list[Trial]]:
    """Return two lists of trials. The trials of the second list can run only when those of the first are finished.

    The first list has the teacher, and AMG at each level with each seed. The second list has the other methods at each level with each
    seed. They need the results of AMG, because the cost of AMG's model is their budget. Raises ConfigError for an unknown method or
    level, for no seeds, and for a seed below 1.
    """
    known = [*STUDIED, *RECIPES]
    if unknown := [name for name in methods if name not in known]:
        raise ConfigError(f"--methods: there is no method {unknown[0]}; choose from {', '.join(known)}")
    if unknown := [name for name in levels if name not in LEVELS]:
        raise ConfigError(f"--levels: there is no level {unknown[0]}; choose from {', '.join(LEVELS)}")
    if not seeds or min(seeds) < 1:
        raise ConfigError("--seeds: a seed is below 1; give whole numbers, such as 1,2,3")
    first = [Trial(TEACHER), *(Trial(BUDGET, level, seed) for level in levels for seed in seeds)]
    others = [name for name in methods if name != BUDGET]
    return first, [Trial(name, level, seed) for level in levels for seed in seeds for name in others]
