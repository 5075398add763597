"""Extract features from image files: decoding during inference, extraction in several processes, and presets."""
