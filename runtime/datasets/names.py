"""How a file name carries its person and its camera, for each published layout. Reads no folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.datasets.files import IMAGE_SUFFIXES
from runtime.errors import DataError


@dataclass(frozen=True)
class Form:
    """`text` is what a person reads in an error; `stem` matches a name without its suffix: person, then camera if it has one."""

    text: str
    stem: re.Pattern[str]


MARKET = Form("PPPP_cCsS_FFFFFF_NN.jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})s[0-9]+_[0-9]+_[0-9]+"))
DUKE = Form("PPPP_cC_fFFFFFFF.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_f[0-9]+"))
MSMT17 = Form(
    "PPPP_NNN_CC_MMDDtime_FFFF_N.jpg",
    re.compile(r"([0-9]{4,9})_[0-9]{3}_([0-9]{1,4})_[0-9]{4}[a-z]+_.+", re.DOTALL),
)
# CUHK03-NP, and MSMT17 as its copies for Market-1501's folders are named.
SHORT = Form("PPPP_cC_NNNN.jpg", re.compile(r"([0-9]{1,9})_c([0-9]{1,4})_[0-9]+"))
# Whatever follows the camera: what the readers of most projects accept.
LIKE = Form("PPPP_cC[...].jpg", re.compile(r"(-1|[0-9]{1,9})_c([0-9]{1,4})(?![0-9]).*", re.DOTALL))
# Occluded-REID and Partial-REID: a person's images are numbered, and no name says which camera took them.
NUMBERED = Form("PPPP_NN.jpg", re.compile(r"([0-9]{1,9})_[0-9]+"))

FORMS = {
    **dict.fromkeys(("market1501", "anny"), (MARKET,)),
    **dict.fromkeys(("dukemtmc", "occluded_duke", "p_dukemtmc"), (DUKE,)),
    "msmt17": (MSMT17, SHORT, MARKET),
    "cuhk03_np": (SHORT,),
    "market_like": (LIKE,),
    **dict.fromkeys(("occluded_reid", "partial_reid", "partial_reid_occluded"), (NUMBERED,)),
}
# Layouts whose people count from 0, which means distractor here: everybody is one higher.
FROM_ZERO = ("msmt17",)


def parse_name(name: str, layout: str) -> tuple[int, int]:
    """The pid and 0-based camid (-1: none) that a file name carries; folders before the last slash are not looked at.

    DataError names the file and the pattern that `layout` expects.
    """
    forms = FORMS[layout]
    if (found := _read(name, forms)) is None:
        expected = " or ".join(form.text for form in forms)
        counted = " (cameras count from 1)" if forms[0].stem.groups > 1 else ""
        raise DataError(f"{name}: not a {layout} image name, expected {expected}{counted}")
    return found[0] + (layout in FROM_ZERO), found[1]


def carried(name: str) -> tuple[int, int]:
    """The pid and camid that a name carries in a form that one published data set alone has; (-1, -1) without any."""
    if (found := _read(name, (MSMT17,))) is not None:
        return found[0] + 1, found[1]
    return _read(name, (MARKET, DUKE)) or (-1, -1)


def parse_path(path: str, relative: str, layout: str) -> tuple[int, int]:
    """As `parse_name`, for an image whose path below its split's folder is `relative`: a person may have a folder there.

    DataError also where the folder's number and the name disagree about the person.
    """
    pid, camid = parse_name(path, layout)
    folder, slash, _ = relative.partition("/")
    if slash and re.fullmatch(r"-1|[0-9]{1,9}", folder) and int(folder) != pid - (layout in FROM_ZERO):
        raise DataError(
            f"{path}: the folder says person {int(folder)}, the name another; mend one of them, or let the folders "
            "decide with --layout person_folders"
        )
    return pid, camid


def _read(name: str, forms: Sequence[Form]) -> tuple[int, int] | None:
    """The person as the name says it, and the 0-based camera, or -1 where this form says none; None for another name."""
    match = next((found for form in forms if (found := form.stem.fullmatch(stem(name)))), None)
    if match is None or not name.lower().endswith(IMAGE_SUFFIXES):
        return None
    camera = int(match[2]) if match.re.groups > 1 else None
    # Cameras are 1-based in every published name and 0-based here: "c0" belongs to no layout.
    return None if camera == 0 else (int(match[1]), -1 if camera is None else camera - 1)


def stem(name: str) -> str:
    """A file's name without its folders and its suffix."""
    base, suffix = os.path.splitext(os.path.basename(name))
    # Some of Market-1501's published names end in ".jpg.jpg".
    return base.removesuffix(suffix)
