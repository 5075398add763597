"""What each family of checkpoints has beside a plain ViT: its embedding and its output, one small module each."""
