"""Makes a C file of text files that the program carries.

    embed.py OUTPUT NAME=FILE...

Each becomes `const char NAME[]`, a string. (As numbers: a standard compiler need not take string
literals of more than 4095 bytes.)
"""

import sys

BYTES_PER_LINE = 24


def main():
    output, *files = sys.argv[1:]
    with open(output, "w", encoding="ascii") as source:
        for file in files:
            name, path = file.split("=", 1)
            with open(path, "rb") as content:
                data = content.read()
            if not data.isascii():
                sys.exit(f"embed: {path} is not plain ASCII")
            source.write(f"extern const char {name}[];\nconst char {name}[] = {{\n")
            for at in range(0, len(data), BYTES_PER_LINE):
                source.write(" ".join(f"{byte}," for byte in data[at:at + BYTES_PER_LINE]) + "\n")
            source.write("0};\n")


if __name__ == "__main__":
    main()
