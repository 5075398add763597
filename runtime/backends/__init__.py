"""Run model files with one of several libraries. Each library has one module or folder here, and nothing else imports it."""
