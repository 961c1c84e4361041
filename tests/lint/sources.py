"""The C files of the tree: what is formatted, linted and read by the other checks here."""

import os

SKIPPED = ("build", ".", "node_modules")


def c_files(root):
    for where, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith(SKIPPED))
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                yield os.path.relpath(os.path.join(where, name), root)
