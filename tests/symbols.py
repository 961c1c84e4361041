"""Checks what the library gives to the linker and what it takes from it.

    symbols.py LIBRARY.so ARCHIVE.a...

Everything the shared library exports begins with conclave_, and none of the archives that it is made
of calls a function that belongs to the host program: its exit, its signals, its standard streams.
Ends with 1 and a line for every symbol that breaks it.
"""

import subprocess
import sys

# What only the host may do. abort() is allowed: it is how an assertion fails (base/fatal.h).
# fprintf and fwrite are caught where they need a stream: stdin, stdout, stderr.
FORBIDDEN = {
    "exit", "_exit", "_Exit", "quick_exit", "atexit", "on_exit",
    "signal", "sigaction", "bsd_signal", "sysv_signal", "raise", "kill", "alarm", "setitimer",
    "printf", "vprintf", "puts", "putchar", "putc", "__printf_chk", "__vprintf_chk", "perror",
    "stdin", "stdout", "stderr", "getchar", "gets", "scanf",
    "getenv", "secure_getenv", "setenv", "unsetenv", "putenv", "setlocale",
    "chdir", "fork", "vfork", "execve", "execvp", "system", "popen", "umask",
}

# The one exception: the last words of a failed assertion go to stderr before abort().
ALLOWED = {("fatal.c.o", "stderr")}

# What sanitizers and coverage add to every shared object.
INSTRUMENTATION = ("__asan_", "__ubsan_", "__tsan_", "__sanitizer_", "__odr_asan", "__gcov_")


def nm(*arguments):
    return subprocess.run(["nm", *arguments], check=True, capture_output=True, text=True).stdout


def exported(library):
    for line in nm("--dynamic", "--defined-only", "--no-sort", library).splitlines():
        fields = line.split()
        if len(fields) == 3:
            yield fields[2].split("@")[0]


def imported(archive):
    """Yields (member, symbol) of what an archive needs from elsewhere."""
    member = archive
    for line in nm("--undefined-only", archive).splitlines():
        if line.endswith(":"):
            member = line[:-1].split("/")[-1]
        fields = line.split()
        if len(fields) == 2 and fields[0] in "Uwv":
            yield member, fields[1].split("@")[0]


def check(library, archives):
    complaints = []
    count = 0
    for symbol in exported(library):
        if symbol.startswith(INSTRUMENTATION):
            continue
        count += 1
        if not symbol.startswith("conclave_"):
            complaints.append(f"{library} exports {symbol}")
    if count == 0:
        complaints.append(f"{library} exports nothing")
    for archive in archives:
        for member, symbol in imported(archive):
            allowed = any(member.endswith(name) and symbol == s for name, s in ALLOWED)
            if symbol in FORBIDDEN and not allowed:
                complaints.append(f"{archive}: {member} uses {symbol}")
    return complaints


def main():
    complaints = check(sys.argv[1], sys.argv[2:])
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
