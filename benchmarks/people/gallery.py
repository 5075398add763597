"""Make the small gallery that `make serve` shows, from rendered people: `python -m benchmarks.people.gallery --model M --out DIR`.

Thirty people of Anny-ReID pass four cameras on one day. The rows of the first two cameras have names, and those of the others do not,
so that there is somebody to find. The times are made up.
"""

from __future__ import annotations

if __name__ == "__main__":
    # Run before the other imports, so that Ctrl-C during those imports shows no traceback either.
    from runtime.entry import run_main

    raise SystemExit(run_main("benchmarks.people.gallery"))

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.console import note

if TYPE_CHECKING:
    from runtime.features import Features
    from runtime.gallery.store.rows import Row

PEOPLE, PICTURES = 30, 2
NAMED_CAMERAS = (0, 1)
DAY = "2026-11-27T08:00:00Z"
# Between the arrivals of two people, from one camera to the next, and between two pictures of a camera.
ARRIVAL_S, WALK_S, AGAIN_S = 17 * 60, 43 * 60, 4
# With 30 people in the gallery and 30 strangers, no lower rate of false matches can be shown.
FPIR = 0.1


@dataclass(frozen=True)
class ShippedOptions:
    """The `model` that embeds the people, the data set `data` (Anny-ReID), and the folder `out` of the new gallery."""

    model: Path
    data: Path
    out: Path


def parse(argv: Sequence[str] | None) -> ShippedOptions:
    """Parse a command line into options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.people.gallery", description=main.__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, metavar="M", help="the model that embeds the people"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/anny_reid"),
        metavar="ROOT",
        help="Anny-ReID (default: %(default)s)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="the folder of the new gallery"
    )
    args = parser.parse_args(argv)
    return ShippedOptions(args.model, args.data, args.out)


def main(argv: Sequence[str] | None = None) -> int:
    """Make a small gallery of rendered people, with times, cameras, names, thumbnails and a threshold."""
    options = parse(argv)
    from runtime.gallery.api import open_gallery
    from runtime.gallery.calibrating import ThresholdOptions, calibrate_gallery_threshold
    from runtime.images.thumbnails import jpeg_of
    from runtime.model import open_model

    model = open_model(options.model)
    people = model.embed_files(options.data / "bounding_box_test")
    others = model.embed_files(options.data / "bounding_box_train")
    kept, rows = rows_of(people)
    with open_gallery(options.out, model=model) as gallery:
        gallery.add_rows(rows, people.features[kept], [jpeg_of(people.paths[index]) for index in kept])
        _, threshold = calibrate_gallery_threshold(gallery, [others], ThresholdOptions(FPIR, enrolled=PEOPLE))
    note(f"{options.out}: {len(rows)} rows, similarity {1 - threshold.distance:.3f} at a rate of {FPIR}")
    return 0


def rows_of(people: Features) -> tuple[list[int], list[Row]]:
    """Return which images of Anny-ReID the gallery keeps, and a row for each."""
    from runtime.gallery.store.rows import Row
    from runtime.gallery.times import MILLION, microseconds

    numbers = sorted(set(people.pids.tolist()))[:PEOPLE]
    seen: Counter[tuple[int, int]] = Counter()
    kept, rows = [], []
    for index in sorted(range(len(people.paths)), key=people.paths.__getitem__):
        pid, camera = int(people.pids[index]), int(people.camids[index])
        if pid not in numbers or seen[pid, camera] == PICTURES:
            continue
        # people walk past the cameras in different orders
        place = (camera + pid) % 4
        seconds = ARRIVAL_S * numbers.index(pid) + WALK_S * place + AGAIN_S * seen[pid, camera]
        seen[pid, camera] += 1
        kept.append(index)
        rows.append(
            Row(
                people.images[index],
                camera=camera,
                time_us=microseconds(DAY, "DAY") + seconds * MILLION,
                person=str(pid) if camera in NAMED_CAMERAS else None,
                path=Path(people.paths[index]).name,
            )
        )
    return kept, rows
