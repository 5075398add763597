"""Compare the features of boxes in frames, `embed_boxes` and `embed_frames`, with the model alone."""
