"""Shorter descriptors: a projection of the features that is fitted on crops and becomes the last matrix product of the graph."""
