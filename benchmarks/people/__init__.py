"""Render Anny-ReID, a re-identification data set of synthetic people. The package needs the extra `render`."""
