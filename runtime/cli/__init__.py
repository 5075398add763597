"""The commands of `python -m runtime`, one module for each.

The module of a command adds its arguments, turns the parsed arguments into a frozen options object, and runs the command. Parsing
loads neither numpy nor Pillow, because a command imports heavy libraries only when it runs. The commands open models, extract
features and rank them through the public API of `runtime`. To avoid confusion, no module here has the name of an API function.
"""
