"""Count the blocks that a configuration removes. Imports no tensor library."""

from __future__ import annotations

from prune.model.architecture import Architecture
from runtime.errors import ConfigError


def removed_count(architecture: Architecture, removed: int | tuple[int, ...]) -> int:
    """Return how many blocks to remove: `removed` itself if it is a number, and otherwise how many block indices it has.

    Raises ConfigError when no prunable block would be left, or when an index is not that of a prunable block that is still present.
    """
    if isinstance(removed, int):
        count = removed
    else:
        present = [
            index
            for index, block in enumerate(architecture.blocks[: architecture.prunable])
            if not block.removed
        ]
        count = len(removed)
        if not set(removed) <= set(present) or len(set(removed)) < count:
            raise ConfigError(
                f"prune.blocks.removed {list(removed)}: the blocks that can be removed are {present}; give each at most once"
            )
    if count and count >= architecture.present_blocks:
        raise ConfigError(
            f"prune.blocks.removed: removes {count} of {architecture.present_blocks} blocks, but one must stay; remove fewer"
        )
    return count
