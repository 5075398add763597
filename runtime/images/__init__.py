"""Image files of people: decoding, resizing, and lists of what was skipped."""
