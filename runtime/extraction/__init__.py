"""Extract features from image files, in one process or several, with settings for low latency or high throughput."""
