"""The plan of a rendered data set: its numbers of identities, cameras and images. Imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError

# The first person id of the test identities. It is fixed, so that the test identities do not depend on the size of the training set.
FIRST_TEST_PID = 7001


@dataclass(frozen=True)
class Plan:
    """The numbers of identities and images to render, and the `seed` of all random choices.

    Each training identity has `images_per_camera` images in each camera. Each test identity has `gallery_per_camera` gallery images in
    each camera. For its query images, `query_cameras` cameras are chosen at random, and each of them takes one image.
    """

    seed: int
    train_identities: int
    test_identities: int
    images_per_camera: int
    gallery_per_camera: int = 2
    query_cameras: int = 2

    def check(self) -> None:
        """Raise ConfigError if the plan has too many identities for the file names, a number out of range, or nothing to render."""
        from benchmarks.people.place import camera

        if not 0 <= self.train_identities < FIRST_TEST_PID:
            raise ConfigError(
                f"--train-identities {self.train_identities}: give a number from 0 to {FIRST_TEST_PID - 1}, because the file "
                "names have no room for more"
            )
        if not 0 <= self.test_identities <= 9999 - FIRST_TEST_PID + 1:
            raise ConfigError(
                f"--test-identities {self.test_identities}: give a number from 0 to {10000 - FIRST_TEST_PID}, because the file "
                "names have no room for more"
            )
        if self.train_identities + self.test_identities == 0:
            raise ConfigError(
                "--train-identities and --test-identities are both 0, so there is nothing to render; give a larger number"
            )
        if not 0 <= self.query_cameras <= len(camera.CAMERAS) or self.images_per_camera < 0:
            raise ConfigError(
                f"--query-cameras {self.query_cameras}, --images-per-camera {self.images_per_camera}: give 0 to 4 query cameras, "
                "and 0 or more images"
            )
        # A larger seed would be two words of numpy's entropy, and the second could be the word of a stream of `people.sequence`.
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"--seed {self.seed}: give a number from 0 to {2**32 - 1}")
