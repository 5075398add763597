"""What to prune: scores of heads, tokens and neurons, and AMG's rounds."""
