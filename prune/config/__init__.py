"""Configuration files: ours, checked key by key, and the authors' translated."""

from prune.config.load import Config, load_config

__all__ = ["Config", "load_config"]
