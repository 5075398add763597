"""Feature extraction, evaluation and ranking on the target: numpy, Pillow, rich and one session library.

Owns what every step must agree on: input specification, preprocessing, dataset names, metrics, manifests, sessions.
"""
