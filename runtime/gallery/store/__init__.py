"""The files of a gallery: rows in SQLite, features in segment files. Adds, deletes, compacts and verifies; searches nothing."""
