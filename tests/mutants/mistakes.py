"""The mutations that have to be among them, and that the simulator has to find: mistakes.txt, whose head says
how it is read. Its tables stand at the head of "Mutation score" in docs/testing.md; hunt.py writes them, and its
--check compares them with the rows of the hunts."""

import collections
import os

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mistakes.txt")
BEGIN = "<!-- mistakes: written by `make mutants ARGS=--write` -->"
END = "<!-- mistakes: end -->"

# The mistake (None: what the first mutation breaks), and the names of the mutations that make it.
Mistake = collections.namedtuple("Mistake", "what names")


def read(path=LIST):
    """[(title, [Mistake])]"""
    tables = []
    with open(path, encoding="utf-8") as file:
        for line in map(str.strip, file):
            if line.startswith("== "):
                tables.append((line[3:], []))
            elif line and not line.startswith("#"):
                what, bar, names = line.partition(" | ")
                mistake = Mistake(what, names.split(", ")) if bar else Mistake(None, [line])
                tables[-1][1].append(mistake)
    return tables


def show(tables, rows, mutations):
    """The tables in Markdown. rows: the cells of each hunted mutation, by its name."""
    breaks = {mutation.name: mutation.breaks for mutation in mutations}
    lines = []
    for title, mistakes in tables:
        several = any(len(mistake.names) > 1 for mistake in mistakes)
        columns = ["mistake", "mutation", "seeds", "what the simulator sees"] + ["the same elsewhere"] * several
        lines += [f"{title}:", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
        for what, (first, *others) in mistakes:
            cells = [what or breaks.get(first, "–"), first] + rows.get(first, ["–"] * 5)[3:5]
            cells += [", ".join(others) or "–"] * several
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip("\n")


def complaints(tables, rows, mutations, document, most):
    """What is wrong with the list, or with its tables in the document. most: seeds in which each has to be found."""
    by_name = {mutation.name: mutation for mutation in mutations}
    wrong = []
    for _, mistakes in tables:
        for what, names in mistakes:
            wrong += [f"mistakes.txt: there is no mutation {name}" for name in names if name not in by_name]
            first = by_name.get(names[0])
            seeds = rows[names[0]][3] if names[0] in rows else "–"
            if first and not first.sim:
                wrong.append(f"mistakes.txt: {names[0]} need not be found by the simulator")
            elif first and not (seeds.isdigit() and int(seeds) <= most):
                wrong.append(f"mistakes.txt: the simulator has not found {names[0]} in {most} seeds: {seeds}")
    if between(document) != show(tables, rows, mutations):
        wrong.append("docs/testing.md: the tables of mistakes.txt are not those of the rows: hunt one with --write")
    return wrong


def between(document):
    return document.partition(BEGIN)[2].partition(END)[0].strip("\n")


def put(document, tables, rows, mutations):
    """The document with the tables of today; without a place for them it stays as it is."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    return f"{head}{begin}\n{show(tables, rows, mutations)}\n{end}{tail}" if begin and end else document
