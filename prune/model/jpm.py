"""TransReID's jigsaw patch module as constant lists of token ids: shift, patch shuffle, local groups."""

from __future__ import annotations

SHIFT = 5
GROUPS = 2


def rearranged(patches: int) -> tuple[int, ...]:
    """Return the ids of the patch tokens, 1..P, in their order after the shift and the patch shuffle.

    The shift rotates by SHIFT - 1, so that the list before the shuffle starts with token SHIFT. With an odd number of patches
    the second-to-last token appears twice, as in the published code.
    """
    order = [*range(SHIFT, patches + 1), *range(1, SHIFT)]
    if len(order) % GROUPS:
        order.append(order[-2])
    half = len(order) // GROUPS
    return tuple(order[(j % GROUPS) * half + j // GROUPS] for j in range(len(order)))


def local_groups(patches: int, parts: int, *, rearrange: bool) -> tuple[tuple[int, ...], ...]:
    """Return the token ids of each local group, `patches // parts` in each; the rest at the end belongs to no group."""
    order = rearranged(patches) if rearrange else tuple(range(1, patches + 1))
    size = patches // parts
    return tuple(order[part * size : (part + 1) * size] for part in range(parts))
