"""Check that other options may be combined with `preset`."""

from __future__ import annotations

from runtime.errors import ConfigError
from runtime.options.choices import LATENCY, THROUGHPUT


def refuse_contradictions(preset: str | None, *, device: str, batch: int | None, threads: int | None) -> None:
    """Raise ConfigError if `device` is not the CPU, or if `batch` or `threads` contradicts the value that `preset` sets."""
    if preset is None:
        return
    if device != "cpu":
        raise ConfigError(
            f"preset={preset!r}: a preset is for a CPU; with device={device!r}, leave the argument preset (--preset) out and "
            "give a batch: 1 for low latency, the largest that fits for high throughput"
        )
    if preset == LATENCY and (threads is not None or batch not in (None, 1)):
        raise ConfigError(
            f"preset={preset!r} runs batch 1 on all cores; leave batch and threads out (--batch, --threads)"
        )
    if preset == THROUGHPUT and threads not in (None, 1):
        raise ConfigError(f"preset={preset!r} runs one thread in each process; leave threads out (--threads)")
