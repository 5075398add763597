"""Training and fine-tuning: the data, the losses, the loop and the checkpoints of a run."""
