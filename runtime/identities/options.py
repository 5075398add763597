"""The options of `Identities`, and the events that it returns. Imports no numpy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from runtime.errors import ConfigError


@dataclass(frozen=True)
class IdentityOptions:
    """How tracks become identities. Times are in seconds, on the clock of the tracks.

    - `false_match_rate` (0..1): how often a track of somebody who has no identity yet may be taken for somebody who has one. Used
      where the threshold is a distribution of distances.
    - `delay_s`: a track is decided so long after its end.
    - `look_ahead_s`: the tracks that end within this time after a track are looked at before it is decided. In the rest of the
      delay, they may arrive in any order.
    - `window_s`: an identity that no track has joined for so long is no longer a candidate.
    - `most`: how many identities can be candidates at once.
    - `separate_cameras`: no two cameras see the same place, so a person is in one camera at a time.
    - `overlap_s`: how long two tracks of one camera may overlap and still be one person, for trackers that end tracks late.
    - `exclusion`: nobody is twice in one camera at one time. False only to measure what this gains.
    """

    false_match_rate: float = 0.2
    delay_s: float = 10.0
    look_ahead_s: float = 5.0
    window_s: float = 3600.0
    most: int = 2000
    separate_cameras: bool = False
    overlap_s: float = 0.0
    exclusion: bool = True

    def check(self) -> None:
        """Raise ConfigError if a number is out of range."""
        if not 0 < self.false_match_rate < 1:
            raise ConfigError(
                f"a rate of false matches of {self.false_match_rate:g}: give one between 0 and 1, such as 0.05"
            )
        for name in ("delay_s", "look_ahead_s", "window_s", "overlap_s"):
            if not 0 <= getattr(self, name) < 1e9:
                raise ConfigError(f"{name}={getattr(self, name)}: give a number of seconds, 0 or more")
        if self.look_ahead_s > self.delay_s:
            raise ConfigError(
                f"look_ahead_s={self.look_ahead_s:g}: is longer than the delay of {self.delay_s:g} s; give at most that"
            )
        if self.most < 1:
            raise ConfigError(f"most={self.most}: give a number of identities, 1 or more")


@dataclass(frozen=True)
class Event:
    """What became known: a `kind` of "track" for a track that got its identity, or "merge" for two identities that are one person.

    For a track: `camera`, `track`, `first_s` and `last_s` say which it is. `new` says that it is the first of its `identity`;
    otherwise `similarity` is the cosine with the identity (-1..1), and `false_match_rate` the probability that a track of somebody
    else would have been this near to one of the candidates (None if the threshold is only a distance). `late` says that it arrived
    after later tracks were decided, and `stored` that the gallery had it already, with this identity. `evidence` names its best
    crops, and `row` is its row in the gallery. For a merge, the tracks of `merged` are from now on those of `identity`.
    """

    kind: str
    identity: str
    camera: int | None = None
    track: str | None = None
    first_s: float | None = None
    last_s: float | None = None
    new: bool = False
    similarity: float | None = None
    false_match_rate: float | None = None
    late: bool = False
    stored: bool = False
    evidence: tuple[str, ...] = ()
    row: int | None = None
    merged: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as a JSON object; a merge has only the keys of a merge."""
        if self.kind == "merge":
            return {"kind": self.kind, "identity": self.identity, "merged": self.merged}
        content = asdict(self)
        del content["merged"]
        return content | {"evidence": list(self.evidence)}
