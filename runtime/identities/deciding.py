"""Decide which identity a track has, together with the tracks that end soon after it. Works on features and spans; stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.identities.open_identities import Identity, OpenIdentities, Span

# How many tracks that end soon after are clustered with a track, the nearest first, and how many identities for each of them. The
# time of a decision is therefore bounded, whatever happens at once.
TOGETHER, NEAREST = 15, 4


@dataclass(frozen=True, eq=False)
class Candidate:
    """A track as a decision sees it: its feature (D,), after the site calibration, and its span."""

    feature: NDArray[np.float32]
    span: Span


@dataclass(frozen=True, eq=False)
class Match:
    """The identity of a track, and the mean distance between its tracks and this one."""

    identity: Identity
    distance: float


@dataclass(eq=False)
class _Cluster:
    """Tracks that count as one person so far: the sum of their features, their number and spans, and the identity among them."""

    total: NDArray[np.float32]
    count: float
    spans: list[Span]
    identity: Identity | None = None


def match(
    identities: OpenIdentities,
    track: Candidate,
    soon: Sequence[Candidate],
    *,
    limit: float,
    apart: Callable[[Sequence[Span], Sequence[Span]], bool],
) -> Match | None:
    """Return the identity of a `track`, or None for a new one.

    The track is clustered with the tracks that end `soon` after it and with the identities that are near to them, by average linkage:
    the two nearest clusters become one, again and again, until none are within the mean cosine distance `limit`. Two identities never
    become one, nor two clusters that are two people, because some of their spans are `apart`. So a track does not take the identity
    of somebody whose next track fits better. Only the decision about `track` is returned.
    """
    together = sorted(soon, key=lambda other: -float(other.feature @ track.feature))[:TOGETHER]
    near: dict[str, Identity] = {}
    for candidate in (track, *together):
        for _, identity in identities.within(candidate.feature, limit)[:NEAREST]:
            near.setdefault(identity.name, identity)
    if not near:
        return None
    clusters = [_Cluster(candidate.feature, 1.0, [candidate.span]) for candidate in (track, *together)]
    for name, identity in near.items():
        total, count = identities.total(name)
        clusters.append(_Cluster(total, count, list(identity.spans), identity))
    own = clusters[0]
    distances = _distances(clusters)
    while True:
        pair = np.unravel_index(int(np.argmin(distances)), distances.shape)
        first, second = int(min(pair)), int(max(pair))
        if distances[first, second] > limit:
            break
        joined, absorbed = clusters[first], clusters[second]
        if (joined.identity and absorbed.identity) or apart(joined.spans, absorbed.spans):
            distances[first, second] = distances[second, first] = np.inf
            continue
        joined.total = joined.total + absorbed.total
        joined.count += absorbed.count
        joined.spans = joined.spans + absorbed.spans
        joined.identity = joined.identity or absorbed.identity
        forbidden = np.isinf(distances[first]) | np.isinf(distances[second])
        means = np.stack([cluster.total / cluster.count for cluster in clusters])
        distances[first] = np.where(forbidden, np.inf, 1 - means @ means[first])
        distances[second] = np.inf
        distances[:, first], distances[:, second] = distances[first], np.inf
        if own.identity is not None:
            # what joins this cluster later does not change the answer
            break
    if own.identity is None:
        return None
    total, count = identities.total(own.identity.name)
    return Match(own.identity, max(1 - float(total @ track.feature) / count, 0.0))


def _distances(clusters: Sequence[_Cluster]) -> NDArray[np.float32]:
    """Return the mean distances between clusters (n, n), infinite from a cluster to itself."""
    means = np.stack([cluster.total / cluster.count for cluster in clusters])
    distances: NDArray[np.float32] = np.float32(1) - means @ means.T
    np.fill_diagonal(distances, np.inf)
    return distances
