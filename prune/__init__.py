"""Attention-map-guided pruning of TransReID: scores, surgery, evaluation. Needs torch; never runs on the device."""
