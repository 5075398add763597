"""What a search is asked for: which rows, how many, and how. Knows nothing of how rows are stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Filters:
    """Which rows a search ranks: those of `cameras`, with a time at or after `since_us` and before `until_us`. None ranks all.

    A row without a camera or a time is left out by the filter of it.
    """

    cameras: tuple[int, ...] | None = None
    since_us: int | None = None
    until_us: int | None = None

    def condition(self) -> tuple[str, list[int]]:
        """Return the SQL condition, with its WHERE, and its values; ("", []) for no filter."""
        parts: dict[str, list[int]] = {}
        if self.cameras is not None:
            parts[f"camera IN ({', '.join('?' * len(self.cameras))})"] = list(self.cameras)
        if self.since_us is not None:
            parts["time_us >= ?"] = [self.since_us]
        if self.until_us is not None:
            parts["time_us < ?"] = [self.until_us]
        text = f" WHERE {' AND '.join(parts)}" if parts else ""
        return text, [value for values in parts.values() for value in values]


ALL = Filters()


@dataclass(frozen=True)
class Search:
    """How to search: `filters` say which rows, `top` how many hits; `rerank` and `index` are as in `Gallery.search`."""

    filters: Filters = ALL
    top: int = 10
    rerank: bool = False
    index: bool = False
