"""Looks into a node's log files as docs/disk-format.md describes them, to damage them on purpose."""

import glob
import os
import struct

HEADER_BYTES = 512
BATCH, ENTRY, ANEW = 1, 2, 3


def segments(data):
    """The segments of the log, oldest first."""
    return sorted(glob.glob(os.path.join(data, "wal", "*.wal")))


def records(data):
    """The records of a segment, in order: offset, kind, term, index and bytes of each. What stood in the
    file in an earlier life, when it was another segment, is told by its lower index."""
    before = struct.unpack_from("<Q", data, 80)[0] if len(data) > HEADER_BYTES else 0
    at = HEADER_BYTES
    while data[:8] != bytes(8) and at + 48 <= len(data):
        size, offset = struct.unpack_from("<II", data, at + 16)
        term, index = struct.unpack_from("<QQ", data, at + 32)
        size = 48 + (size + 7) // 8 * 8
        if offset != at or index < before or at + size > len(data):
            break
        yield at, data[at + 28], term, index, size
        at += size


def last_segment(data):
    """The newest segment that holds anything, and how many of its bytes are used."""
    for path in reversed(segments(data)):
        with open(path, "rb") as file:
            found = list(records(file.read()))
        if found:
            return path, found[-1][0] + found[-1][4]
    raise AssertionError(f"no segment with records in {data}")


def entries(path):
    """Where the entries of a segment stand: offset, term and index of each, in order."""
    with open(path, "rb") as file:
        data = file.read()
    return [(at, term, index) for at, kind, term, index, _ in records(data) if kind == ENTRY]


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def attested(data):
    """True if everything in the log is attested: an idle node writes a batch without entries."""
    path, _ = last_segment(data)
    with open(path, "rb") as file:
        *_, (_, kind, _, _, _) = records(file.read())
    return kind in (BATCH, ANEW)


def contents(data):
    """Every file of the log and the vote, for comparing before and after."""
    result = {}
    for where, _, names in os.walk(data):
        for name in names:
            path = os.path.join(where, name)
            if os.sep + "machine" in path or name == "lock":
                continue
            with open(path, "rb") as file:
                result[os.path.relpath(path, data)] = file.read()
    return result


def log_contents(data):
    """The files of the log alone: the vote's count the starts."""
    return {path: bytes_ for path, bytes_ in contents(data).items() if path.startswith("wal")}
