"""Read the arrays of an .npz file. A damaged file raises a ValueError with a readable reason."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.wording import reason_of


def read_npz(path: str | os.PathLike[str], *, most_bytes: int) -> dict[str, NDArray[Any]]:
    """Return {name: array} for the arrays of the .npz file at `path`.

    Raises ValueError with a readable reason if the file is damaged, holds pickles, or unpacks to more than `most_bytes` bytes in
    all, and OSError when the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > most_bytes:
            raise ValueError(
                f"its arrays unpack to {unpacked:,} bytes, but at most {most_bytes:,} are allowed"
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except OSError:
        raise
    # The bytes are untrusted, and the parsers of numpy and zipfile raise whatever a malformed field provokes: TokenError,
    # zlib.error, NotImplementedError, MemoryError, ...
    except Exception as error:
        raise ValueError(reason_of(error)) from None
    if other := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
        raise ValueError(f"holds {reason_of(other[0])}, which is no array")
    return arrays
