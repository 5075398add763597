"""The options of `Identities`. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

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
