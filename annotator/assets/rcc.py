"""Qt resource archives (.rcc): what is inside, as paths and bytes.

The layout is that of Qt's own `rcc --binary`: a header, a tree of fixed-size nodes in breadth-first
order, the names (UTF-16) and the data, each found by an offset from the start of the file.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"qres"
_ZLIB, _DIRECTORY, _ZSTD = 1, 2, 4


class RccError(ValueError):
    """The file is no resource archive of version 1 to 3, or it is cut short."""


@dataclass(frozen=True, kw_only=True)
class _Archive:
    content: bytes
    tree: int
    data: int
    names: int
    node_size: int


def members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the archive as (path inside, content), in the archive's order.

    Errors: `RccError` when the file is not an archive that this reader knows; one line.
    """
    archive = _open(path)
    try:
        yield from _walk(archive, index=0, folder="")
    except (struct.error, zlib.error, UnicodeDecodeError, RecursionError) as error:
        raise RccError(f"{path}: damaged resource archive ({error})") from error


def _open(path: Path) -> _Archive:
    content = path.read_bytes()
    if len(content) < 20 or content[:4] != _MAGIC:
        raise RccError(f"{path}: not a Qt resource archive")
    version, tree, data, names = struct.unpack_from(">4I", content, 4)
    if not 1 <= version <= 3:
        raise RccError(f"{path}: resource archive of version {version}; known are 1 to 3")
    # From version 2 on, each node ends with its time of change.
    node_size = 14 if version == 1 else 22
    return _Archive(content=content, tree=tree, data=data, names=names, node_size=node_size)


def _walk(archive: _Archive, *, index: int, folder: str) -> Iterator[tuple[str, bytes]]:
    offset = archive.tree + index * archive.node_size
    name_offset, flags = struct.unpack_from(">IH", archive.content, offset)
    path = _join(folder, "" if index == 0 else _name(archive, name_offset))
    if flags & _DIRECTORY:
        count, first = struct.unpack_from(">2I", archive.content, offset + 6)
        for child in range(first, first + count):
            yield from _walk(archive, index=child, folder=path)
    else:
        (data_offset,) = struct.unpack_from(">I", archive.content, offset + 10)
        yield path, _payload(archive, data_offset, flags)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _name(archive: _Archive, offset: int) -> str:
    start = archive.names + offset
    (length,) = struct.unpack_from(">H", archive.content, start)
    # Four bytes of hash stand between the length and the letters.
    return archive.content[start + 6 : start + 6 + 2 * length].decode("utf-16-be")


def _payload(archive: _Archive, offset: int, flags: int) -> bytes:
    start = archive.data + offset
    (size,) = struct.unpack_from(">I", archive.content, start)
    stored = archive.content[start + 4 : start + 4 + size]
    if len(stored) < size:
        raise struct.error("data ends early")
    if flags & _ZSTD:
        raise RccError("a member is packed with zstd, which this reader does not know")
    if flags & _ZLIB:
        # Qt's qCompress puts the unpacked size, four bytes, before the zlib stream.
        return zlib.decompress(stored[4:])
    return stored
