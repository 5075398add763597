"""Choose how many heads, tokens and MLP neurons each block keeps, so that a model meets a latency, compute or accuracy goal."""
