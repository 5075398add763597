"""Reading and writing files: JSON text, NumPy archives, manifests, and files that are replaced as a whole."""
