"""The surroundings of a person in an image: the scene, the camera and the occluder."""
