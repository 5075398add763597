"""Configuration files: our own, checked key by key, and the authors', translated into our keys."""

from prune.config.load import Config, load_config

__all__ = ["Config", "load_config"]
