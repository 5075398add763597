"""What benchmarks.experiments.search_report compares: the measured groups of pruned models, and their chart."""
