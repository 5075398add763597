"""Run the quality gate of an artifact on its check crops, when asked and once on each new kind of processor."""
