"""Statistics of measurements: intervals of ratios, bootstraps over queries, and average precisions."""
