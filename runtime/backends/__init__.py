"""What runs a model file: one module or folder for each library, which alone imports it."""
