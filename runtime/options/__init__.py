"""The choices and the types of command-line options. Imports neither numpy nor Pillow, so that parsers are fast."""
