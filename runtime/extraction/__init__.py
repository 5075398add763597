"""From image files to features: decoding beside inference, several processes, presets."""
