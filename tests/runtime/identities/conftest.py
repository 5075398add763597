"""The galleries of these tests are those of tests/runtime/gallery: once in folders, and once on a PostgreSQL server."""

from tests.runtime.gallery.conftest import at, on_server, server  # noqa: F401
