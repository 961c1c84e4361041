"""Mutants of a C file by rule: what a slip of the pen, or a reviewer, would make of each line.

    operators.py FILE.c ...      lists them

The file is read by clang, as a tree with the place of every expression (`-ast-dump=json`). The mutants
of a file are not many files but one, in which each mutated expression asks whether its mutant is alive
(schemata.h): one build serves all of them.

    compare     < and <=, > and >= for each other
    condition   a comparison, or any other truth value, is always true; always false (of a loop: only false)
    logic       && and || for each other
    delete      a call, an assignment, a step, break, continue, return; (not what only frees, closes or traces)
    arithmetic  + and -, & and |, << and >> for each other, * is +, / is *; += is -= and the other way round
    constant    a number is one more; one less. true and false for each other
    value       what is assigned, or a variable begins with, is one more; one less
    argument    a number given to a function is one more
    bound       the smaller for the greater of two, and the other way round
    return      0 or NULL for anything else; one more for a number; an error for success

Left as they are: assertions, which are checks themselves; the texts of errors and traces; what stands in a
macro's arguments, constant expressions, what only frees, and how much a list grows by. And one microsecond more or less: nobody's clock is that good.
"""

import collections
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INTEGERS = {"char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int",
            "long", "unsigned long", "long long", "unsigned long long"}
BOUNDARY = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
RELATIONS = set(BOUNDARY) | {"==", "!="}
ARITHMETIC = {"+": "-", "-": "+", "&": "|", "|": "&", "<<": ">>", ">>": "<<", "*": "+", "/": "*"}
BOUNDS = {"min": "max", "max": "min"}
# Without these memory or descriptors are lost, which sanitizers see, or a line of a trace.
NOT_DELETED = re.compile(r"(^|_)(free|unref|deinit|destroy|close|closedir|trace)$")
# A list that is longer than it need be is a list.
SIZE = re.compile(r"capacity\b")
# What is only told.
NOT_READ = re.compile(r"(^|_)(trace|error_set)$")
TIME = re.compile(r"_us\b|timeout")
TRANSPARENT = {"ImplicitCastExpr", "ParenExpr", "ConstantExpr", "FullExpr"}
SKIPPED = {"UnaryExprOrTypeTraitExpr", "EnumDecl", "RecordDecl", "TypedefDecl", "StaticAssertDecl",
           "OffsetOfExpr", "StmtExpr", "GCCAsmStmt"}

Mutant = collections.namedtuple("Mutant", "path line function operator before after number")


class Unreadable(Exception):
    """clang does not take the file."""


def key(mutant):
    """What a mutant is called over changes of other lines: no line, no number."""
    return " | ".join((mutant.path, mutant.function, f"{mutant.before} -> {mutant.after}"))


def short(text):
    text = " ".join(re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).split()).replace("|", "¦")
    return text if len(text) <= 90 else text[:60] + " ... " + text[-25:]


class File:
    """One file: its mutants, numbered from `first` on, and the text that has them all."""

    def __init__(self, path, first=1, root=ROOT, flags=()):
        self.path, self.root, self.next = path, root, first
        with open(os.path.join(root, path), "rb") as file:
            self.text = file.read()
        self.mutants, self.edits, self.function = [], [], None
        self.names = collections.Counter()
        for node in self.tree(flags).get("inner", []):
            body = [child for child in node.get("inner", []) if child.get("kind") == "CompoundStmt"]
            if node.get("kind") == "FunctionDecl" and body and self.is_here(node) and \
                    not NOT_DELETED.search(node["name"]):
                self.function = node["name"]
                self.returned = node["type"]["qualType"].split("(")[0].strip()
                self.statement(body[0])

    def tree(self, flags):
        run = subprocess.run(["clang", "-std=c11", "-D_GNU_SOURCE", "-I.", "-Iinclude", "-w", "-fsyntax-only",
                              "-Xclang", "-ast-dump=json", *flags, self.path],
                             cwd=self.root, capture_output=True, check=False)
        if run.returncode:
            raise Unreadable(f"{self.path}: {run.stderr.decode(errors='replace')[-2000:]}")
        return json.loads(run.stdout)

    def is_here(self, node):
        """Not of a header."""
        place, name = node.get("loc", {}), node.get("name", "").encode()
        at = place.get("offset", -1)
        return "includedFrom" not in place and at >= 0 and self.text[at:at + len(name)] == name

    # --- Places ------------------------------------------------------------------------------------

    def end_of_call(self, at):
        """Behind the parenthesis that ends the arguments that begin at or behind `at`; at: there are none."""
        begin = at
        while self.text[begin:begin + 1].isspace():
            begin += 1
        if self.text[begin:begin + 1] != b"(":
            return at
        depth = 0
        for position in range(begin, len(self.text)):
            depth += {b"(": 1, b")": -1}.get(self.text[position:position + 1], 0)
            if depth == 0:
                return position + 1
        raise Unreadable(f"{self.path}: no end of a macro's arguments")

    def span(self, node):
        """(begin, end, inside): inside of one macro, or of its arguments."""
        places = []
        for end in ("begin", "end"):
            place = node["range"][end]
            macro = place.get("expansionLoc")
            at = (macro or place).get("offset")
            if at is None:
                return None
            length = (macro or place)["tokLen"]
            places.append((at, self.end_of_call(at + length) if macro else at + length, bool(macro),
                           bool(macro and macro.get("isMacroArgExpansion"))))
        (begin, _, first, argument), (last, end, second, _) = places
        return begin, end, argument or (first and second and begin == last)

    def of(self, node):
        begin, end, _ = self.span(node)
        return self.text[begin:end].decode()

    def usable(self, node):
        place = node.get("range") and self.span(node)
        return bool(place) and not place[2]

    # --- Making mutants ----------------------------------------------------------------------------

    def add(self, node, operator, *afters):
        """The number of the first of them."""
        begin, end, _ = self.span(node)
        first = self.next
        for after in afters:
            before = self.name_of(node, begin, end)
            name = (self.function, before, after)
            self.names[name] += 1
            if self.names[name] > 1:
                after = f"{after} #{self.names[name]}"
            line = self.text.count(b"\n", 0, begin) + 1
            self.mutants.append(Mutant(self.path, line, self.function, operator, before, after, self.next))
            self.next += 1
        return first

    def name_of(self, node, begin, end):
        """Its text; of what looks like many others with the line that it stands in, or that leads to it."""
        text = short(self.text[begin:end].decode())
        if node["kind"] not in ("IntegerLiteral", "BreakStmt", "ContinueStmt", "ReturnStmt"):
            return text
        lines = [line.strip() for line in self.text[:begin].decode().split("\n")]
        at = len(lines) - 1
        where = short(self.text.decode().split("\n")[at])
        while at > 0 and where.strip("{} ") in (text + ";", ""):
            at -= 1
            where = short(lines[at])
        return f"{text} of `{where}`"

    def around(self, node, before, after):
        begin, end, _ = self.span(node)
        self.insert(begin, end, before, after)

    def insert(self, begin, end, before, after):
        # What is registered first is the outer one of two at one place.
        order = len(self.edits)
        self.edits.append((begin, 1, order, 0, before))
        self.edits.append((end, 0, -order, 0, after))

    def replace(self, begin, end, text):
        self.edits.append((begin, 2, 0, end - begin, text))

    def schemata(self):
        """The text with all mutants."""
        parts, at = [], 0
        for begin, _, _, length, text in sorted(self.edits):
            parts += [self.text[at:begin], text.encode()]
            at = begin + length
        return b"".join(parts + [self.text[at:]])

    # --- Statements --------------------------------------------------------------------------------

    def statement(self, node, last=False):
        """last: nothing of the block that break or continue leaves comes behind it."""
        kind = node.get("kind")
        children = node.get("inner", [])
        if not kind or kind in SKIPPED:
            return
        if kind == "CompoundStmt":
            for number, child in enumerate(children):
                self.statement(child, last and number == len(children) - 1)
        elif kind == "IfStmt":
            self.condition(children[0])
            for child in children[1:]:
                self.statement(child, last)
        elif kind == "WhileStmt":
            self.condition(children[0], loop=True)
            self.statement(children[1])
        elif kind == "DoStmt" and self.usable(node):
            self.statement(children[0])
            self.condition(children[1], loop=True)
        elif kind == "ForStmt":
            begin, _, condition, step, body = children
            if begin.get("kind") == "DeclStmt":
                self.declarations(begin)
            elif begin.get("kind"):
                self.expression(begin)
            if condition.get("kind"):
                self.condition(condition, loop=True)
            if step.get("kind") == "CompoundAssignOperator":
                self.expression(step["inner"][1])
            self.statement(body)
        elif kind == "SwitchStmt":
            self.expression(children[0])
            self.statement(children[1], last=True)
        elif kind in ("CaseStmt", "DefaultStmt", "LabelStmt"):
            if children:
                self.statement(children[-1], last)
        elif kind == "DeclStmt":
            self.declarations(node)
        elif kind == "ReturnStmt":
            self.returning(node, children)
        elif kind in ("BreakStmt", "ContinueStmt"):
            if not last:
                self.deletable(node)
        elif kind not in ("NullStmt", "GotoStmt"):
            self.deletable(node)
            self.expression(node, statement=True)

    def declarations(self, node):
        for variable in node.get("inner", []):
            if variable.get("kind") != "VarDecl" or variable.get("storageClass") == "static":
                continue
            for value in variable.get("inner", [])[-1:]:
                if "init" in variable:
                    self.assigned(value, variable.get("type", {}), variable["name"])

    def called(self, node):
        """The name of the function or macro that a statement calls."""
        match = re.match(r"(?:\(void\)\s*)?(\w+)\s*\(", self.of(node))
        return match.group(1) if match else ""

    def deletable(self, node):
        kind = node["kind"]
        place = self.span(node)
        begin, end, inside = place
        if inside and node["range"]["begin"].get("expansionLoc", {}).get("isMacroArgExpansion"):
            return
        name = self.called(node)
        if name == "ASSERT" or NOT_DELETED.search(name):
            return
        if kind == "CStyleCastExpr" and not name:
            return  # (void)x
        match = re.compile(rb"\s*;").match(self.text, end)
        if match:
            number = self.add(node, "delete", "deleted")
            self.insert(begin, match.end(), f"{{ if (!mutant_on({number})) ", " }")

    def returning(self, node, children):
        if not children:
            self.deletable(node)
            return
        value = children[0]
        bare = self.bare(value)
        if not self.usable(value) or self.returned in ("bool", "_Bool"):
            self.condition(value) if self.returned in ("bool", "_Bool") else self.expression(value)
            return
        text = self.of(value)
        if text == "CONCLAVE_OK":
            number = self.add(value, "return", "CONCLAVE_INTERNAL")
            self.around(value, f"(mutant_on({number}) ? CONCLAVE_INTERNAL : ", ")")
            return
        if bare["kind"] in ("IntegerLiteral", "InitListExpr", "CompoundLiteralExpr") or text == "NULL":
            self.expression(value)
            return
        integer = self.is_integer(bare) and self.returned != "int" and not TIME.search(self.function + text)
        if integer:
            number = self.add(value, "return", "one more")
            self.around(value, f"MUTANT_MORE({number}, (", "))")
        if integer or self.returned == "int" or "*" in self.returned:
            number = self.add(value, "return", "0")
            self.around(value, f"MUTANT_ZERO({number}, (", "))")
        self.expression(value)

    # --- Expressions -------------------------------------------------------------------------------

    def bare(self, node):
        while node.get("kind") in TRANSPARENT and node.get("inner"):
            node = node["inner"][0]
        return node

    @staticmethod
    def type_of(node):
        kind = node.get("type", {})
        name = kind.get("desugaredQualType", kind.get("qualType", ""))
        return re.sub(r"\b(const|volatile)\b", "", name).strip()

    def is_integer(self, node):
        return self.type_of(node) in INTEGERS

    def between(self, left, right):
        """The place of the operator."""
        begin, end = self.span(left)[1], self.span(right)[0]
        text = re.sub(rb"/\*.*?\*/", lambda match: b" " * len(match.group()), self.text[begin:end], flags=re.DOTALL)
        match = re.search(rb"[^\s]+", text)
        return begin + match.start(), begin + match.end()

    def condition(self, node, loop=False):
        """An expression that is only asked whether it is true."""
        bare = self.bare(node)
        kind, children = bare["kind"], bare.get("inner", [])
        if kind == "BinaryOperator" and bare["opcode"] in ("&&", "||"):
            if self.usable(bare):
                name, other = ("AND", "||") if bare["opcode"] == "&&" else ("OR", "&&")
                number = self.add(bare, "logic", other)
                self.around(bare, f"MUTANT_{name}({number}, (", "))")
                self.replace(*self.between(*children), "), (")
            for child in children:
                self.condition(child)
        elif kind == "UnaryOperator" and bare["opcode"] == "!":
            self.condition(children[0])
        elif kind == "IntegerLiteral":
            self.literal(bare)
        else:
            if self.usable(bare):
                if loop:
                    number = self.add(bare, "condition", "false")
                    self.around(bare, f"MUTANT_FALSE({number}, (", "))")
                else:
                    number = self.add(bare, "condition", "true", "false")
                    self.around(bare, f"MUTANT_BOOL({number}, (", "))")
            self.expression(bare, asked=True)

    def literal(self, node, compared=False):
        macro = node["range"]["begin"].get("expansionLoc")
        if macro:
            text = self.of(node)
            if text in ("true", "false") and not macro.get("isMacroArgExpansion"):
                number = self.add(node, "constant", "false" if text == "true" else "true")
                self.around(node, f"MUTANT_NOT({number}, ", ")")
        elif self.usable(node) and compared and node.get("value") == "0":
            number = self.add(node, "constant", "one more")  # one less than nothing: never, or always
            self.around(node, f"MUTANT_MORE({number}, ", ")")
        elif self.usable(node):
            number = self.add(node, "constant", "one more", "one less")
            self.around(node, f"MUTANT_OFF({number}, ", ")")

    def assigned(self, value, kind, target):
        """A value that a variable gets."""
        name = re.sub(r"\bconst\b", "", kind.get("desugaredQualType", kind.get("qualType", ""))).strip()
        bare = self.bare(value)
        if SIZE.search(target):
            return
        if name in ("bool", "_Bool"):
            self.condition(value)
            return
        if name in INTEGERS and name != "int" and bare["kind"] != "IntegerLiteral" and self.usable(value) and \
                not TIME.search(f"{target} {self.of(value)}"):
            number = self.add(value, "value", "one more", "one less")
            self.around(value, f"MUTANT_OFF({number}, (", "))")
        self.expression(value)

    def expression(self, node, asked=False, statement=False):
        """asked: its truth is mutated already."""
        kind, children = node.get("kind"), node.get("inner", [])
        if not kind or kind in SKIPPED or (not self.usable(node) and kind != "IntegerLiteral"):
            return
        if self.is_null(node):
            return
        if kind == "BinaryOperator":
            self.binary(node, children, asked)
        elif kind == "CompoundAssignOperator":
            if node["opcode"] in ("+=", "-=") and self.is_integer(node) and self.usable(children[1]):
                number = self.add(node, "arithmetic", "-=" if node["opcode"] == "+=" else "+=")
                self.around(children[1], f"MUTANT_NEGATED({number}, (", "))")
            for child in children:
                self.expression(child)
        elif kind == "UnaryOperator" and node["opcode"] == "!":
            self.condition(node)
        elif kind == "ConditionalOperator":
            self.condition(children[0])
            for child in children[1:]:
                self.expression(child)
        elif kind == "CallExpr":
            self.call(children)
        elif kind == "IntegerLiteral":
            self.literal(node)
        elif kind == "InitListExpr":
            if not (len(children) == 1 and self.of(children[0]) == "0") and self.of(node).strip("{} ") != "0":
                for child in children:
                    if child.get("range", {}).get("begin"):
                        self.value(child)
        else:
            for child in children:
                self.expression(child)

    def value(self, node):
        """A member's first value: of what type, the cast says."""
        if self.type_of(node) in ("bool", "_Bool"):
            self.condition(node)
        else:
            self.expression(node)

    def binary(self, node, children, asked):
        code = node["opcode"]
        left, right = children
        if code == "=":
            self.expression(left)
            self.assigned(right, left.get("type", {}), self.of(left))
            return
        if code in ("&&", "||") or (code in RELATIONS and not asked):
            self.condition(node)
            return
        if code in BOUNDARY:
            number = self.add(node, "compare", BOUNDARY[code])
            self.around(node, f"MUTANT_COMPARED({number}, (", "))")
            self.replace(*self.between(left, right), f"), {code}, {BOUNDARY[code]}, (")
        elif code in ARITHMETIC and all(map(self.is_integer, (node, left, right))):
            number = self.add(node, "arithmetic", ARITHMETIC[code])
            self.around(node, f"MUTANT_TWO({number}, (", "))")
            self.replace(*self.between(left, right), f"), {code}, {ARITHMETIC[code]}, (")
        for child in children:
            bare = self.bare(child)
            if bare["kind"] == "IntegerLiteral" and not self.is_null(child):
                self.literal(bare, compared=code in RELATIONS)
            else:
                self.expression(child)

    @staticmethod
    def is_null(node):
        return node.get("castKind") == "NullToPointer"

    def call(self, children):
        callee, arguments = children[0], children[1:]
        name = self.of(callee) if self.usable(callee) else ""
        if NOT_READ.search(name):
            return
        stem, _, end = name.rpartition("_")
        if end in BOUNDS and stem:
            other = f"{stem}_{BOUNDS[end]}"
            if re.search(rf"\b{other}\(".encode(), self.text) or stem == "raft":
                number = self.add(callee, "bound", other)
                self.around(callee, f"(mutant_on({number}) ? {other} : ", ")")
        for argument in arguments:
            bare = self.bare(argument)
            kind = self.type_of(argument)
            if kind in ("bool", "_Bool"):
                self.condition(argument)
                continue
            if kind in INTEGERS and kind != "int" and end not in BOUNDS and self.usable(argument) and \
                    not TIME.search(self.of(argument)) and bare["kind"] in ("DeclRefExpr", "MemberExpr", "CallExpr", "ArraySubscriptExpr"):
                number = self.add(argument, "argument", "one more")
                self.around(argument, f"MUTANT_MORE({number}, (", "))")
            self.expression(argument)


def main():
    for path in sys.argv[1:]:
        for mutant in File(os.path.relpath(path, ROOT)).mutants:
            print(f"{mutant.path}:{mutant.line}: {mutant.function}: {mutant.operator}: "
                  f"{mutant.before} -> {mutant.after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
