"""Searches a process's writable memory, freed or not (proc_pid_mem(5)). Needs root."""

from collections.abc import Iterator
from pathlib import Path

PAGE = 4096
#: Bytes of a page's entry in `pagemap`; its highest bit says that the page is present
#: (proc_pid_pagemap(5)).
ENTRY = 8


def places(pid: int, wanted: bytes, around: int = 64) -> list[tuple[bytes, bytes]]:
    """For each occurrence of `wanted`, the bytes before it and after it."""
    found = []
    for piece in _pieces(Path(f"/proc/{pid}")):
        at = piece.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            found.append((piece[max(0, at - around) : at], piece[end : end + around]))
            at = piece.find(wanted, at + 1)
    return found


def _pieces(process: Path) -> Iterator[bytes]:
    maps = [line.split()[:2] for line in (process / "maps").read_text().splitlines()]
    with (process / "mem").open("rb", 0) as memory, (process / "pagemap").open("rb", 0) as pagemap:
        for bounds, mode in maps:
            if not mode.startswith("rw"):
                continue
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            for first, last in _present(pagemap, start // PAGE, end // PAGE):
                memory.seek(first * PAGE)
                try:
                    yield memory.read((last - first) * PAGE)
                except OSError:  # unmapped meanwhile
                    continue


def _present(pagemap, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The ranges of present pages: most reserved memory was never touched."""
    pagemap.seek(first * ENTRY)
    entries = pagemap.read((last - first) * ENTRY)
    begun = None
    for page in range(len(entries) // ENTRY + 1):
        is_there = page * ENTRY < len(entries) and entries[page * ENTRY + ENTRY - 1] & 0x80
        if is_there and begun is None:
            begun = page
        elif not is_there and begun is not None:
            yield first + begun, first + page
            begun = None
