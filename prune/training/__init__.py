"""Training and fine-tuning: data, losses, loop, checkpoints of a run."""
