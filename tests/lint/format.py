"""Checks that every C file stands as clang-format would write it, or with --write makes it so.

    format.py [--write] [ROOT]
"""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sources import c_files  # noqa: E402


def check(root, write=False):
    files = list(c_files(root))
    if not files:
        print(f"no C files under {root}")
        return 1
    mode = ["-i"] if write else ["--dry-run", "-Werror"]
    return subprocess.run(["clang-format", "--style=file", *mode, *files], cwd=root).returncode


def main():
    arguments = [a for a in sys.argv[1:] if a != "--write"]
    here = os.path.dirname(os.path.abspath(__file__))
    root = arguments[0] if arguments else os.path.join(here, "..", "..")
    return 1 if check(root, "--write" in sys.argv) else 0


if __name__ == "__main__":
    sys.exit(main())
