"""The gallery: a durable store of features that can be erased and searched, and its calibrations."""
