"""TransReID's jigsaw patch module as constant index lists (amg: shift, shuffle, four groups)."""

from __future__ import annotations

SHIFT = 5
GROUPS = 2


def rearranged(patches: int) -> tuple[int, ...]:
    """Token ids 1..P (class token excluded) after the shift and the patch shuffle.

    The rotation is by SHIFT - 1: the list starts with token SHIFT. With an odd number of patches the second-to-last token stands
    twice, as in the published code.
    """
    order = [*range(SHIFT, patches + 1), *range(1, SHIFT)]
    if len(order) % GROUPS:
        order.append(order[-2])
    half = len(order) // GROUPS
    return tuple(order[(j % GROUPS) * half + j // GROUPS] for j in range(len(order)))


def local_groups(patches: int, parts: int, *, rearrange: bool) -> tuple[tuple[int, ...], ...]:
    """Token ids of each local group, `patches // parts` each; the leftovers at the end belong to none."""
    order = rearranged(patches) if rearrange else tuple(range(1, patches + 1))
    size = patches // parts
    return tuple(order[part * size : (part + 1) * size] for part in range(parts))
