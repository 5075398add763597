"""Read the person and the camera from a file name, for each published layout. Reads no folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.datasets.files import IMAGE_SUFFIXES
from runtime.errors import DataError


@dataclass(frozen=True)
class Form:
    """The form of a data set's file names.

    `text` shows the form in error messages. `stem` matches a name without its suffix; its groups are the person and, where the
    names state one, the camera.
    """

    text: str
    stem: re.Pattern[str]


MARKET = Form("PPPP_cCsS_FFFFFF_NN.jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})s[0-9]+_[0-9]+_[0-9]+"))
DUKE = Form("PPPP_cC_fFFFFFFF.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_f[0-9]+"))
MSMT17 = Form(
    "PPPP_NNN_CC_MMDDtime_FFFF_N.jpg",
    re.compile(r"([0-9]{4,9})_[0-9]{3}_([0-9]{1,4})_[0-9]{4}[a-z]+_.+", re.DOTALL),
)
# CUHK03-NP, and copies of MSMT17 in Market-1501's folders.
SHORT = Form("PPPP_cC_NNNN.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_[0-9]+"))
# Anything may follow the camera, as in the readers of most projects.
LIKE = Form("PPPP_cC[...].jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})(?![0-9]).*", re.DOTALL))
# Occluded-REID and Partial-REID: a person's images are numbered, and their names state no camera.
NUMBERED = Form("PPPP_NN.jpg", re.compile(r"([0-9]{1,9})_[0-9]+"))

FORMS = {
    **dict.fromkeys(("market1501", "anny"), (MARKET,)),
    **dict.fromkeys(("dukemtmc", "occluded_duke", "p_dukemtmc"), (DUKE,)),
    "msmt17": (MSMT17, SHORT, MARKET),
    "cuhk03_np": (SHORT,),
    "market_like": (LIKE,),
    **dict.fromkeys(("occluded_reid", "partial_reid", "partial_reid_occluded"), (NUMBERED,)),
}
# Layouts whose pids start at 0. Here 0 means distractor, so every pid is raised by one.
FROM_ZERO = ("msmt17",)


def parse_name(name: str, layout: str) -> tuple[int, int]:
    """Return the pid and the 0-based camid (-1: none) that a file name states; folders before the last slash are ignored.

    DataError names the file and the form that `layout` expects.
    """
    forms = FORMS[layout]
    if (ids := _read(name, forms)) is None:
        expected = " or ".join(form.text for form in forms)
        counted = " (cameras count from 1)" if forms[0].stem.groups > 1 else ""
        raise DataError(f"{name}: not a {layout} image name, expected {expected}{counted}")
    return ids[0] + (layout in FROM_ZERO), ids[1]


def ids_in_name(name: str) -> tuple[int, int]:
    """Return the pid and camid of a single file's name, (-1, -1) where it states none.

    Only forms count whose numbers mean the same in every data set that uses them: those of Market-1501, DukeMTMC and MSMT17.
    """
    if (ids := _read(name, (MSMT17,))) is not None:
        return ids[0] + 1, ids[1]
    return _read(name, (MARKET, DUKE)) or (-1, -1)


def parse_path(path: str, relative: str, layout: str) -> tuple[int, int]:
    """Return what `parse_name` returns, for an image at `relative` below its split's folder, where a person may have a folder.

    DataError also where the number of that folder and the name disagree about the person.
    """
    pid, camid = parse_name(path, layout)
    folder, slash, _ = relative.partition("/")
    if slash and re.fullmatch(r"-1|[0-9]{1,9}", folder) and int(folder) != pid - (layout in FROM_ZERO):
        raise DataError(
            f"{path}: the folder states person {int(folder)}, the file name another; rename one of them, or let the "
            "folders decide with layout='person_folders'"
        )
    return pid, camid


def _read(name: str, forms: Sequence[Form]) -> tuple[int, int] | None:
    """Return the person as the name states it and the 0-based camera (-1: none), or None for a name of another form."""
    matches = (form.stem.fullmatch(stem(name)) for form in forms)
    match = next((match for match in matches if match), None)
    if match is None or not name.lower().endswith(IMAGE_SUFFIXES):
        return None
    camera = int(match[2]) if match.re.groups > 1 else None
    # Cameras are 1-based in every published name and 0-based here, so "c0" belongs to no layout.
    return None if camera == 0 else (int(match[1]), -1 if camera is None else camera - 1)


def stem(name: str) -> str:
    """Return a file's name without its folders and its suffix."""
    base, suffix = os.path.splitext(os.path.basename(name))
    # Some of Market-1501's published names end in ".jpg.jpg".
    return base.removesuffix(suffix)
