"""Compiles each public header alone, as strict C11 and as C++.

    headers.py FOLDER

With what is installed of cc, clang, g++ and clang++; at least one C and one C++ compiler must be.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wundef", "-fsyntax-only"]
LANGUAGES = {
    "c": ("-std=c11", ["gcc", "clang"]),
    "c++": ("-std=c++11", ["g++", "clang"]),
}


def compile_alone(folder, header, language, standard, compiler):
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        # Twice: the guard must hold.
        source.write(f'#include "{header}"\n#include "{header}"\nint main(void);\n')
        source.flush()
        return subprocess.run([compiler, "-x", language, standard, *WARNINGS, f"-I{folder}",
                               source.name], capture_output=True, text=True)


def check(folder):
    complaints = []
    headers = sorted(os.path.basename(path) for path in glob.glob(os.path.join(folder, "*.h")))
    if not headers:
        complaints.append(f"no header in {folder}")
    for language, (standard, compilers) in LANGUAGES.items():
        there = [compiler for compiler in compilers if shutil.which(compiler)]
        if not there and language == "c":
            complaints.append("no C compiler")
        for compiler in there:
            for header in headers:
                run = compile_alone(folder, header, language, standard, compiler)
                if run.returncode != 0:
                    complaints.append(f"{header}, {compiler} {standard}:\n{run.stderr}")
    return complaints


def main():
    complaints = check(sys.argv[1])
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
