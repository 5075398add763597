"""What the folded form of a model computes instead of the published one: pixels, stems, the last block and the output."""
