"""`python -m runtime gallery add`: store the features of images in a gallery."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.cli.arguments import (
    ModelOptions,
    RunOptions,
    add_cluster_options,
    add_layout_option,
    add_max_bad_option,
    add_model_options,
    add_shard_option,
    model_options,
    run_options,
)
from runtime.cli.gallery.arguments import add_store_option, camera_number
from runtime.options.choices import PRESETS, THROUGHPUT
from runtime.options.cluster import Cluster, cluster_of
from runtime.options.store_place import StorePlace

if TYPE_CHECKING:
    from runtime.gallery.ingest import Labels

HELP = "store the features of images; the same command again resumes"
TIMES = {"name,exif": ("name", "exif"), "name": ("name",), "exif": ("exif",), "none": ()}


@dataclass(frozen=True)
class AddOptions:
    """The model, the images, the gallery `store`, and what to record with each image.

    `shard`, `layout`, `preset` and `cluster` are as for `extract`. `source`, `camera`, `time`, `track` and `person` are those of all
    images; None takes them from the file names. `times` names where to look for times, and `zone` the time zone of those without one.
    """

    model: ModelOptions
    run_options: RunOptions
    images: str
    store: StorePlace
    shard: str | None
    layout: str | None
    preset: str | None
    cluster: Cluster | None
    source: str
    camera: int | None
    time: str | None
    track: str | None
    person: str | None
    times: str
    zone: str
    thumbnails: bool
    as_json: bool

    def labels(self) -> Labels:
        """Return what is recorded with each image. Raises ConfigError for a wrong time or time zone."""
        from runtime.gallery.ingest import Labels
        from runtime.gallery.times import microseconds, zone

        return Labels(
            source=self.source,
            camera=self.camera,
            time_us=None if self.time is None else microseconds(self.time, "--as-time"),
            track=self.track,
            person=self.person,
            times=TIMES[self.times],
            local=zone(self.zone),
            thumbnails=self.thumbnails,
        )


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of the command `gallery add` to `parser`."""
    parser.add_argument("model", metavar="MODEL", help="an exported .onnx file or an engine")
    parser.add_argument("images", metavar="IMAGES", help="a folder, a list file or one image")
    add_store_option(parser)
    parser.add_argument(
        "--source",
        default="",
        metavar="NAME",
        help="where the images come from; the same image is stored once for each source (default: no name)",
    )
    parser.add_argument(
        "--as-camera",
        type=camera_number,
        metavar="N",
        help="the camera of all images (0-based; default: from the file names)",
    )
    parser.add_argument(
        "--as-time", metavar="TIME", help="the time of all images, such as 2026-11-27T10:15:00Z"
    )
    parser.add_argument("--as-track", metavar="NAME", help="the track of all images")
    parser.add_argument(
        "--as-person", metavar="NAME", help="the person on all images (default: from the file names)"
    )
    parser.add_argument(
        "--times",
        choices=list(TIMES),
        default="name,exif",
        help="where to look for the time of an image: its file name, its EXIF data (default: %(default)s)",
    )
    parser.add_argument(
        "--zone",
        default="UTC",
        metavar="Z",
        help="time zone of times without one, such as Europe/Paris (default: UTC)",
    )
    parser.add_argument(
        "--thumbnails",
        action="store_true",
        help="also store a small copy of each image, which is personal data",
    )
    parser.add_argument(
        "--preset", choices=PRESETS, help="settings for a CPU: latency or throughput, as for extract"
    )
    add_cluster_options(parser)
    add_shard_option(parser)
    add_layout_option(parser)
    add_model_options(parser)
    add_max_bad_option(parser)


def command(args: Namespace) -> None:
    """Run the command `gallery add` with the parsed arguments `args`."""
    run(
        AddOptions(
            model=model_options(args),
            run_options=run_options(args),
            images=args.images,
            store=args.store,
            shard=args.shard,
            layout=args.layout,
            preset=args.preset,
            cluster=cluster_of(args.on, args.address, preset=args.preset, device=args.device),
            source=args.source,
            camera=args.as_camera,
            time=args.as_time,
            track=args.as_track,
            person=args.as_person,
            times=args.times,
            zone=args.zone,
            thumbnails=args.thumbnails,
            as_json=args.json,
        )
    )


def run(options: AddOptions) -> None:
    """Store the features of the images, and print a summary on stdout."""
    from runtime import console, open_gallery
    from runtime.cli.gallery.verdicts import print_calibration
    from runtime.cli.model_features import open_with_options, shard_images
    from runtime.cli.notes import print_notes, print_result, print_skipped
    from runtime.gallery.ingest import BadImages, add_files
    from runtime.images.skipped import write_skipped
    from runtime.images.sources import labelled_images
    from runtime.stopping import keeping

    labels = options.labels()
    # skipped.jsonl lies beside a folder, and in the working folder for a server
    listed_as = options.store if isinstance(options.store, Path) else Path("gallery")
    preset = THROUGHPUT if options.cluster else options.preset
    model = open_with_options(options.model, options.run_options, preset=preset)
    images = labelled_images(options.images, options.layout)
    print_notes(images.notes)
    images = shard_images(images, options.images, options.shard)
    how = options.run_options
    opened = open_gallery(options.store, model=model, camera=how.camera, dataset=images.dataset_name)
    with opened as gallery:
        before = len(gallery)

        def stored() -> str:
            return f"{len(gallery) - before} images were added to {options.store}; the same command resumes"

        try:
            with keeping(stored), console.progress("gallery add", len(images.items)) as advance:
                result = add_files(
                    gallery,
                    model,
                    images,
                    labels=labels,
                    cluster=options.cluster,
                    camera=how.camera,
                    workers=how.workers,
                    max_bad=how.max_bad,
                    progress=advance,
                )
        except BadImages as error:
            write_skipped(listed_as, error.skipped)
            raise
        rows, verdict = len(gallery), print_calibration(gallery)
    print_skipped([f"{skipped.path}: {skipped.reason}" for skipped in result.skipped])
    print_notes(result.notes)
    if listed := write_skipped(listed_as, result.skipped):
        console.note(f"{len(result.skipped)} images were skipped; {listed} lists them")
    if result.added.differing:
        console.note(
            f"{result.added.differing} images are stored with another camera, time, track or person, which stay; delete them first to "
            "change them"
        )
    if result.timeless:
        console.note(
            f"{result.timeless} new rows have no time, so filters by time leave them out and they never expire; --as-time or a time "
            "in the file names gives them one"
        )
    if result.compared:
        console.note(
            f"{result.matched} of {result.compared} new images match a person whose images were stored before: a stored row is within "
            "the threshold; gallery search shows the nearest rows of an image"
        )
    summary: dict[str, Any] = {
        "store": str(options.store),
        "added": result.added.added,
        "present": result.added.present,
        "skipped": len(result.skipped),
        "rows": rows,
        "compared": result.compared,
        "matched": result.matched,
        "camera": opened.space.camera,
        "dim": model.dim,
        "engine": model.artifact.backend,
        "model": model.sha256,
    }
    if options.as_json:
        # the notes say it to the reader of the table
        summary["threshold"] = verdict
    print_result("gallery", summary, as_json=options.as_json)
