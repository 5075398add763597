"""What this machine is: the kind of its processor, and the release of a Jetson. Imports nothing of ours."""
