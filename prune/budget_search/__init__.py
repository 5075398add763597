"""How many heads, tokens and neurons each block keeps for a latency, a count of operations or an accuracy."""
