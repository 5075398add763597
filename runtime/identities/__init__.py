"""Identities: which tracks of several cameras show the same person."""
