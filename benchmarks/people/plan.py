"""The plan of a rendered data set: its numbers of identities, cameras and images. Renders nothing, and imports no numpy."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import ConfigError

# The first id of the test identities. A fixed number, so that they stay the same people for every size of the training set.
FIRST_TEST_PID = 7001


@dataclass(frozen=True)
class Plan:
    """What to render. `images_per_camera` is the number of training images of one identity in one camera."""

    seed: int
    train_identities: int
    test_identities: int
    images_per_camera: int
    gallery_per_camera: int = 2
    query_cameras: int = 2

    def check(self) -> None:
        """Raise ConfigError for a plan that does not fit the file names or the cameras."""
        from benchmarks.people.place import camera

        if not 0 <= self.train_identities < FIRST_TEST_PID:
            raise ConfigError(
                f"--train-identities {self.train_identities}: the file names allow 0 to {FIRST_TEST_PID - 1}"
            )
        if not 0 <= self.test_identities <= 9999 - FIRST_TEST_PID + 1:
            raise ConfigError(
                f"--test-identities {self.test_identities}: the file names allow 0 to {10000 - FIRST_TEST_PID}"
            )
        if self.train_identities + self.test_identities == 0:
            raise ConfigError("nothing to render: --train-identities and --test-identities are both 0")
        if not 0 <= self.query_cameras <= len(camera.CAMERAS) or min(self.images_per_camera, self.seed) < 0:
            raise ConfigError("--query-cameras must be 0 to 4, and --seed and --images-per-camera at least 0")
