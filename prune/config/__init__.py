"""Configuration files: those of this project, and those of the authors of TransReID and AMG, translated into this project's keys."""

from prune.config.load import Config, load_config

__all__ = ["Config", "load_config"]
