"""What surrounds a person in a picture: the scene, the camera, and what stands in front."""
