"""The tables of a gallery on a server, and the migrations from each version of them to the next."""

from __future__ import annotations

from typing import Any

from runtime.errors import DataError, StorageError
from runtime.gallery.postgres.driver import know_vectors
from runtime.gallery.space import Space, same_space
from runtime.options.store_place import ServerAddress

# Held while the tables are created or migrated: "reid" in ASCII.
CREATING = 0x72656964
# The type `vector` holds at most so many numbers. Up to INLINE numbers, a feature is stored within its row, which makes an exact
# search nearly twice as fast; beyond, a row does not fit on a page of the server.
WIDEST, INLINE = 16_000, 1536
TABLES = ("reid_image", "reid_thumbnail", "reid_calibration", "reid_calibration_crop")

# Personal data is kept out of the planner's statistics, which a deletion does not reach.
_FIRST = """
CREATE TABLE reid_store (
    one integer PRIMARY KEY CHECK (one = 1),
    space text NOT NULL,
    next_id bigint NOT NULL,
    changes bigint NOT NULL,
    wiping boolean NOT NULL,
    indexed boolean NOT NULL
);
CREATE TABLE reid_image (
    id bigint PRIMARY KEY,
    camera bigint,
    time_us bigint,
    crc bigint NOT NULL,
    sha256 bytea NOT NULL,
    source text NOT NULL,
    track text,
    person text,
    path bytea NOT NULL,
    feature vector({dim}) NOT NULL,
    UNIQUE (sha256, source)
);
CREATE INDEX reid_image_camera_time ON reid_image (camera, time_us);
CREATE INDEX reid_image_time ON reid_image (time_us);
CREATE INDEX reid_image_person ON reid_image (person, id);
CREATE TABLE reid_thumbnail (
    image bigint PRIMARY KEY REFERENCES reid_image (id) ON DELETE CASCADE,
    jpeg bytea NOT NULL
);
CREATE TABLE reid_calibration (
    id bigint PRIMARY KEY,
    kind text NOT NULL,
    record text NOT NULL,
    crc bigint NOT NULL
);
CREATE TABLE reid_calibration_crop (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    calibration bigint NOT NULL REFERENCES reid_calibration (id) ON DELETE CASCADE,
    person text,
    camera bigint,
    sha256 bytea NOT NULL,
    feature bytea NOT NULL,
    image bytea NOT NULL
);
ALTER TABLE reid_image ALTER feature SET STORAGE {storage},
    ALTER sha256 SET STATISTICS 0, ALTER source SET STATISTICS 0, ALTER track SET STATISTICS 0, ALTER person SET STATISTICS 0,
    ALTER path SET STATISTICS 0, ALTER feature SET STATISTICS 0, ALTER crc SET STATISTICS 0;
ALTER TABLE reid_thumbnail ALTER jpeg SET STATISTICS 0;
ALTER TABLE reid_calibration_crop ALTER person SET STATISTICS 0, ALTER sha256 SET STATISTICS 0, ALTER feature SET STATISTICS 0,
    ALTER image SET STATISTICS 0
"""
# Migration number v makes version v + 1 from version v. One that was released is never changed.
MIGRATIONS = (_FIRST,)


def open_tables(db: Any, address: ServerAddress, space: Space | None) -> Space:
    """Return the embedding space of the gallery in the database; with a `space`, the gallery is created if it does not exist yet.

    Tables of an earlier version are migrated. Raises DataError if there is no gallery, ArtifactError if it holds features of another
    space, and StorageError for a gallery of a later version or a server without pgvector.
    """
    if db.execute("SELECT current_schema()").fetchone()[0] is None:
        raise StorageError(
            f"{address}: no schema of its search_path exists; create one first: CREATE SCHEMA NAME"
        )
    version = _version(db)
    if not version and space is None:
        raise DataError(
            f"{address}: no gallery; make one with: python -m runtime gallery add MODEL IMAGES --store {address}"
        )
    if version > len(MIGRATIONS):
        raise StorageError(
            f"{address}: a gallery of schema {version}, but this version reads schema {len(MIGRATIONS)}; upgrade this project"
        )
    if version < len(MIGRATIONS):
        _migrate(db, address, space)
    (text,) = db.execute("SELECT space FROM reid_store").fetchone()
    try:
        stored = Space.from_text(text)
    except (ValueError, TypeError) as error:
        raise StorageError(f"{address}: {error}; restore a backup of the database") from None
    if space is not None:
        same_space(stored, space, str(address))
    if not know_vectors(db):
        raise StorageError(
            f"{address}: the extension vector is not on the search_path; add its schema to search_path"
        )
    return stored


def _version(db: Any) -> int:
    """Return the version of the tables, 0 if there are none."""
    # asked of a table, because the names that a connection remembers may be out of date
    query = (
        "SELECT count(*) FROM pg_tables WHERE tablename = 'reid_version' AND schemaname = current_schema()"
    )
    if not db.execute(query).fetchone()[0]:
        return 0
    return int(db.execute("SELECT max(version) FROM reid_version").fetchone()[0])


def _migrate(db: Any, address: ServerAddress, space: Space | None) -> None:
    """Bring the tables to the newest version in one transaction; create them if there are none."""
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(%s)", (CREATING,))
        # another process may have done it meanwhile
        version = _version(db)
        if not version:
            if space is None or space.dim > WIDEST:
                raise DataError(
                    f"{address}: PostgreSQL holds features of up to {WIDEST} numbers; use a model with fewer"
                )
            _create_extension(db, address)
            db.execute("CREATE TABLE reid_version (version integer PRIMARY KEY)")
        else:
            space = Space.from_text(db.execute("SELECT space FROM reid_store").fetchone()[0])
        storage = "PLAIN" if space.dim <= INLINE else "EXTERNAL"
        for number in range(version, len(MIGRATIONS)):
            db.execute(MIGRATIONS[number].format(dim=space.dim, storage=storage))
            db.execute("INSERT INTO reid_version VALUES (%s)", (number + 1,))
        if not version:
            db.execute("INSERT INTO reid_store VALUES (1, %s, 1, 0, false, false)", (space.to_text(),))


def _create_extension(db: Any, address: ServerAddress) -> None:
    if db.execute("SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector')").fetchone()[0]:
        return
    query = "SELECT EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector')"
    if not db.execute(query).fetchone()[0]:
        raise StorageError(
            f"{address}: the server has no pgvector; install it there, or use the image in docker/compose.scale.yaml"
        )
    db.execute("CREATE EXTENSION vector")
