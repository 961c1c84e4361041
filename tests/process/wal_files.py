"""Looks into a node's log files as docs/disk-format.md describes them, to damage them on purpose."""

import glob
import os
import struct
import time

HEADER_BYTES = 512


def segments(data):
    """The segments of the log, oldest first."""
    return sorted(glob.glob(os.path.join(data, "wal", "*.wal")))


def used_bytes(path):
    """Where the last byte that is not zero ends; all behind it is room to be written."""
    with open(path, "rb") as file:
        return len(file.read().rstrip(b"\0"))


def last_segment(data):
    """The newest segment that holds anything, and how many of its bytes are used."""
    for path in reversed(segments(data)):
        used = used_bytes(path)
        if used > HEADER_BYTES:
            return path, used
    raise AssertionError(f"no segment with records in {data}")


def entries(path):
    """Where the entries of a segment stand: offset, term and index of each, in order."""
    with open(path, "rb") as file:
        data = file.read()
    at, found = HEADER_BYTES, []
    while at + 48 <= len(data) and data[at:at + 8] != bytes(8):
        size, kind = struct.unpack_from("<I", data, at + 16)[0], data[at + 28]
        if kind == 2:
            found.append((at, *struct.unpack_from("<QQ", data, at + 32)))
        at += 48 + (size + 7) // 8 * 8
    return found


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


def quiet(data, pause=0.5):
    """True if nothing is written to the log for a moment."""
    before = last_segment(data)
    time.sleep(pause)
    return last_segment(data) == before


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
