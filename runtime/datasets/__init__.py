"""Read data sets: the images of each split, with the person and the camera of each. Reads file names, never pixels.

The readers get file names from a function, the `Listing`: listing(folder) returns the relative paths of the files below a folder of
the data set, and listing(list file) returns the lines of this file. So the readers can be tested on the published lists of names
without the images. Names are strings as Python's `os` returns them (`surrogateescape`), so that a file name that is not UTF-8 can be
used too.
"""

from runtime.datasets.files import IMAGE_SUFFIXES, image_names, read_lines
from runtime.datasets.folders import FOLDERS
from runtime.datasets.guess import guess_layout, surrounding_root
from runtime.datasets.item import SPLITS, Dataset, Item, Listing
from runtime.datasets.names import FORMS, parse_name
from runtime.datasets.published import CAMERAS, PUBLISHED, SAME_CAMERA_STAYS, count_warnings, counts
from runtime.datasets.reading import MAX_BAD, READERS, read_dataset, training_images

__all__ = [
    "CAMERAS",
    "FOLDERS",
    "FORMS",
    "IMAGE_SUFFIXES",
    "MAX_BAD",
    "PUBLISHED",
    "READERS",
    "SAME_CAMERA_STAYS",
    "SPLITS",
    "Dataset",
    "Item",
    "Listing",
    "count_warnings",
    "counts",
    "guess_layout",
    "image_names",
    "parse_name",
    "read_dataset",
    "read_lines",
    "surrounding_root",
    "training_images",
]
