"""Damage the members of a torch archive (.pth), with correct checksums, and the opcodes of its pickle."""

from __future__ import annotations

import io
import pickletools
import zipfile
from random import Random

from tests.campaigns.mutate import damaged

OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
GLOBALS = (
    b"os system",
    b"torch load",
    b"builtins eval",
    b"collections OrderedDict",
    b"numpy dtype",
    b"torch FloatStorage",
    b"torch Size",
    b"torch._utils _rebuild_tensor_v2",
    b"torch._utils _rebuild_sparse_tensor",
    b"torch._utils _rebuild_parameter",
    b"numpy._core.multiarray scalar",
    b"torch._utils _rebuild_qtensor",
    b"torch._tensor _rebuild_from_type_v2",
    b"\x1b[31m \x07x",
)


def archive_damaged(data: bytes, random: Random) -> bytes:
    """Return a zip archive in which one member is damaged, removed, renamed or repeated, with correct checksums."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = random.choice([index for index, (name, _) in enumerate(members) if name.endswith("data.pkl")])
    if random.random() < 0.3:
        place = random.randrange(len(members))
    name, content = members[place]
    change = random.random()
    if change < 0.06:
        del members[place]
    elif change < 0.12:
        members[place] = (
            random.choice((name + "x", "data.pkl", "../" + name, "constants.pkl", "code/x.py")),
            content,
        )
    elif change < 0.18:
        members.append((name, damaged(content, random)))
    elif name.endswith("data.pkl"):
        members[place] = (name, pickle_damaged(content, random))
    else:
        members[place] = (name, damaged(content, random))
    return _archive(members, random)


def _archive(members: list[tuple[str, bytes]], random: Random) -> bytes:
    file = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if random.random() < 0.1 else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def pickle_damaged(data: bytes, random: Random) -> bytes:
    """Return a pickle in which one to three opcodes are replaced, removed, repeated or moved, or have another argument."""
    for _ in range(random.choice((1, 1, 2, 3))):
        starts = _starts(data)
        place = random.randrange(len(starts) - 1)
        start, end = starts[place], starts[place + 1]
        change = random.randrange(6)
        if change == 0:
            data = data[:start] + random.choice(OPCODES) + data[start + 1 :]
        elif change == 1:
            data = data[:start] + data[end:]
        elif change == 2:
            data = data[:end] + data[start:end] + data[end:]
        elif change == 3:
            module, name = random.choice(GLOBALS).split(b" ")
            wanted = [at for at, to in zip(starts, starts[1:]) if data[at : at + 1] == b"c"] or [start]
            at = random.choice(wanted)
            data = data[:at] + b"c" + module + b"\n" + name + b"\n" + data[starts[starts.index(at) + 1] :]
        elif change == 4 and end - start > 1:
            data = data[: start + 1] + damaged(data[start + 1 : end], random) + data[end:]
        else:
            some = random.choice(
                (
                    b"N",
                    b"(",
                    b"]",
                    b"}",
                    b"K\x00",
                    b"J\xff\xff\xff\xff",
                    b"\x8a\x08" + b"\xff" * 7 + b"\x7f",
                    b"\x88",
                    b"X\x01\0\0\0x",
                    b"G" + b"\xff" * 8,
                    b")",
                )
            )
            data = data[:start] + some + data[end:]
    return data


def _starts(data: bytes) -> list[int]:
    """Return the positions at which the opcodes begin, as far as they can be read. There are at least two."""
    places = []
    try:
        places = [place for _, _, place in pickletools.genops(data) if place is not None]
    except Exception:  # what cannot be read any more is where the damage is
        pass
    return [*places, len(data)] if places else [0, min(1, len(data))]
