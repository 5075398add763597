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

    `text` shows the form in error messages. `stem` is a pattern for a name without its suffix. Its first group is the person; its
    second group, if the names state a camera, is the camera.
    """

    text: str
    stem: re.Pattern[str]


MARKET = Form("PPPP_cCsS_FFFFFF_NN.jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})s[0-9]+_[0-9]+_[0-9]+"))
DUKE = Form("PPPP_cC_fFFFFFFF.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_f[0-9]+"))
MSMT17 = Form(
    "PPPP_NNN_CC_MMDDtime_FFFF_N.jpg",
    re.compile(r"([0-9]{4,9})_[0-9]{3}_([0-9]{1,4})_[0-9]{4}[a-z]+_.+", re.DOTALL),
)
# CUHK03-NP, and copies of MSMT17 with the folders of Market-1501.
SHORT = Form("PPPP_cC_NNNN.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_[0-9]+"))
# After the camera, any text may follow, as most other projects allow.
LIKE = Form("PPPP_cC[...].jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})(?![0-9]).*", re.DOTALL))
# Occluded-REID and Partial-REID: the person and the number of the image, without a camera.
NUMBERED = Form("PPPP_NN.jpg", re.compile(r"([0-9]{1,9})_[0-9]+"))

FORMS = {
    **dict.fromkeys(("market1501", "anny"), (MARKET,)),
    **dict.fromkeys(("dukemtmc", "occluded_duke", "p_dukemtmc"), (DUKE,)),
    "msmt17": (MSMT17, SHORT, MARKET),
    "cuhk03_np": (SHORT,),
    "market_like": (LIKE,),
    **dict.fromkeys(("occluded_reid", "partial_reid", "partial_reid_occluded"), (NUMBERED,)),
}
# Layouts whose names count people from 0. In this project pid 0 means a distractor, so `parse_name` raises these pids by one.
FROM_ZERO = ("msmt17",)


def parse_name(name: str, layout: str) -> tuple[int, int]:
    """Return the pid and the 0-based camid that the file name `name` states; the camid is -1 if the name states none.

    The name must have one of the forms FORMS[layout]; otherwise DataError is raised. Folders before the last slash are ignored.
    """
    forms = FORMS[layout]
    if (ids := _read(name, forms)) is None:
        expected = " or ".join(form.text for form in forms)
        counted = " (cameras count from 1)" if forms[0].stem.groups > 1 else ""
        raise DataError(f"{name}: not a {layout} image name, expected {expected}{counted}")
    return ids[0] + (layout in FROM_ZERO), ids[1]


def ids_in_name(name: str) -> tuple[int, int]:
    """Return the pid and the 0-based camid that a file name states without a known layout; (-1, -1) if it states none.

    Only the forms of Market-1501, DukeMTMC and MSMT17 are recognised, because their numbers have the same meaning in every data set
    that uses them.
    """
    if (ids := _read(name, (MSMT17,))) is not None:
        return ids[0] + 1, ids[1]
    return _read(name, (MARKET, DUKE)) or (-1, -1)


def parse_path(path: str, relative: str, layout: str) -> tuple[int, int]:
    """Return the pid and camid that the name of the image at `path` states (`parse_name`).

    `relative` is the end of `path`: the path of the image below the folder of its split. If `relative` begins with a folder whose
    name is a number, such as `0002/0002_c1s1_000451_03.jpg`, this number must be that of the person in the file name. Raises
    DataError if it is not, and the error of `parse_name`.
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
    """Return the person number as in the name and the 0-based camera (-1 if none), or None for a name in none of `forms`."""
    matches = (form.stem.fullmatch(stem(name)) for form in forms)
    match = next((match for match in matches if match), None)
    if match is None or not name.lower().endswith(IMAGE_SUFFIXES):
        return None
    camera = int(match[2]) if match.re.groups > 1 else None
    # All published names count cameras from 1, so a name with camera 0 has another form.
    return None if camera == 0 else (int(match[1]), -1 if camera is None else camera - 1)


def stem(name: str) -> str:
    """Return a file's name without its folders and its suffix."""
    base, suffix = os.path.splitext(os.path.basename(name))
    # Some of Market-1501's published names end in ".jpg.jpg".
    return base.removesuffix(suffix)
