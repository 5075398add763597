"""Power and energy of a Jetson or a graphics card: the sensors, their samples, and the energy in a window of time."""
