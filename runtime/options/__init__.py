"""What the options of commands may be: their choices and the types of their values. Imports neither numpy nor Pillow."""
