"""Statistics of measurements: confidence intervals of time ratios and of mAP differences, and average precisions."""
