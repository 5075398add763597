"""Run model files with one of several libraries. Each library has one module or folder here; no other module imports the library."""
