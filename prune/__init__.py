"""Attention-map-guided pruning (AMG) of TransReID: score, cut, fine-tune and evaluate. Needs torch; never runs on the edge device."""
