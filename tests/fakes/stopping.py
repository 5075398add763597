"""Models that a signal stops in the middle of an extraction."""

from __future__ import annotations

import dataclasses

import pytest

from runtime import model as model_module
from runtime.stopping import Stopped


def stop_models(monkeypatch: pytest.MonkeyPatch, signal: int, *, batches: int) -> None:
    """Let every model that `open_model` opens answer `batches` batches; then the signal with the number `signal` comes."""
    honest = model_module.open_artifact

    def opened(*path, **options):
        artifact, left = honest(*path, **options), [batches]

        def run(images, camera_ids=None):
            if not left[0]:
                raise Stopped(signal)
            left[0] -= 1
            return artifact.run(images, camera_ids)

        return dataclasses.replace(artifact, run=run)

    monkeypatch.setattr(model_module, "open_artifact", opened)
