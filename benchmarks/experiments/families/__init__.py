"""Fine-tune, prune, export, time and build one model of every family of checkpoints."""
