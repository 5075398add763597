"""TransReID's jigsaw patch module as constant lists of token ids: shift, patch shuffle, local groups."""

from __future__ import annotations

SHIFT = 5
GROUPS = 2


def rearranged(patches: int) -> tuple[int, ...]:
    """Return the ids of the patch tokens, 1..`patches`, in their order after the shift and the patch shuffle.

    The shift rotates the list by SHIFT - 1, so that it starts with token SHIFT. If the number of patches is odd, the second to last
    token of this list is then appended to it once more, as in the published code, and the result has `patches` + 1 ids. The shuffle
    takes ids alternately from the first and the second half of the list.
    """
    order = [*range(SHIFT, patches + 1), *range(1, SHIFT)]
    if len(order) % GROUPS:
        order.append(order[-2])
    half = len(order) // GROUPS
    return tuple(order[(j % GROUPS) * half + j // GROUPS] for j in range(len(order)))


def local_groups(patches: int, parts: int, *, rearrange: bool) -> tuple[tuple[int, ...], ...]:
    """Return the patch-token ids of each of the `parts` local groups, `patches // parts` ids in each.

    With `rearrange`, the tokens are first put in the order of `rearranged`. Tokens that are left over at the end belong to no
    group.
    """
    order = rearranged(patches) if rearrange else tuple(range(1, patches + 1))
    size = patches // parts
    return tuple(order[part * size : (part + 1) * size] for part in range(parts))
