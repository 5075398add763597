"""Read the frames of a video file, a stream or a camera, and the file that says where people are in them."""
