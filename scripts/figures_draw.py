"""The pictures and the page of scripts/figures.py: charts by the page of `conclave bench --html`, in a browser."""

import html
import json
import os
import re
import shutil
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def browser():
    return next((path for name in ("chromium-headless-shell", "chromium") for path in [shutil.which(name)] if path),
                None)


def drawn(charts):
    """The charts as the page of `bench --html` draws them; None: there is no browser."""
    if not browser():
        return None
    with open(os.path.join(ROOT, "bench", "page.html"), encoding="ascii") as file:
        page = file.read()
    report = {"results": [], "targets": [], "environment": {}, "charts": charts, "command": [], "seed": 0}
    with tempfile.TemporaryDirectory(prefix="conclave-figures-") as folder:
        path = os.path.join(folder, "page.html")
        with open(path, "w", encoding="ascii") as file:
            file.write(page.replace("REPORT_GOES_HERE", json.dumps(report).replace("<", "\\u003c")))
        command = [browser(), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom",
                   "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
                   "--user-data-dir=" + os.path.join(folder, "profile"), "file://" + path]
        done = subprocess.run(command, capture_output=True, check=True, timeout=120,
                              env={**os.environ, "HOME": folder})
    return re.findall(r"<svg.*?</svg>", done.stdout.decode(), re.DOTALL)


STYLE = ("<style>svg{background:#fff}text{font:11px system-ui,'DejaVu Sans',sans-serif;fill:#4c5766}"
         ".fault{fill:#c4325f}.title{font-weight:600;fill:#1c2430}</style>")


def standalone(pictures, charts):
    """One SVG file of several charts below each other, with titles and what the colours mean."""
    parts, top, width = [], 0, 520
    for picture, made in zip(pictures, charts):
        box = [float(number) for number in re.search(r'viewBox="([^"]+)"', picture).group(1).split()]
        inside = re.search(r"<svg[^>]*>(.*)</svg>", picture, re.DOTALL).group(1).replace("var(--line)", "#d9dee6")
        title = html.escape(f"{made['title']}: {made['what']}")
        parts.append(f'<text class="title" x="8" y="{top + 16}">{title}</text>')
        parts.append(f'<g transform="translate(0 {top + 24})">{inside}</g>')
        top += 24 + box[3] + 8
        left = 8
        for drawn_line in made["lines"]:
            name = html.escape(drawn_line["name"])
            dash = f' stroke-dasharray="{drawn_line["dash"]}"' if drawn_line.get("dash") else ""
            parts.append(f'<line x1="{left}" x2="{left + 18}" y1="{top}" y2="{top}" stroke="{drawn_line["colour"]}" '
                         f'stroke-width="3"{dash}/><text x="{left + 23}" y="{top + 4}">{name}</text>')
            left += 34 + 7 * len(drawn_line["name"])
        top += 24
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}">{STYLE}'
            + "".join(parts) + "</svg>\n")


def cell(value):
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(rows):
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = ["| " + " | ".join(column.replace("_", " ") for column in columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(cell(row[column]) if column in row else "" for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def chapter(name, figure, has_picture):
    e = figure["environment"]
    parts = [f"## {figure['title']}", "",
             f"{e['cores']} x {e['cpu']}, {e['kernel']}, {e['file_system']}, fdatasync p50 {e['fdatasync_p50_us']:.0f} us, "
             f"p99 {e['fdatasync_p99_us']:.0f} us, load {e['load_average']:.2f} before; {figure['started']}; "
             f"{figure['scale']} scale.", "", table(figure["rows"]), ""]
    if has_picture:
        parts += [f"![{figure['title']}]({name}.svg)", ""]
    if "check_errors" in figure:
        parts += ["Off in the median where it was left out: " + ", ".join(
            f"{key} {value['median'] * 100:.0f} % (worst {value['worst'] * 100:.0f} %)"
            for key, value in figure["check_errors"].items()) + ".", "", table(figure["predictions"]), ""]
    parts += [f"Limited by: {figure['bottleneck']}.", "", "Measured with:", ""]
    parts += ["    " + command for command in figure["commands"]]
    return "\n".join(parts) + "\n"


def draw(out, names):
    """Draws the figures that are there and writes the page; False: there is no browser, and no picture."""
    chapters, browsed = [], browser() is not None
    for name in names:
        path = os.path.join(out, name + ".json")
        if not os.path.exists(path):
            continue
        with open(path, encoding="utf-8") as file:
            figure = json.load(file)
        pictures = drawn(figure["charts"]) if figure["charts"] and browsed else []
        if pictures:
            with open(os.path.join(out, name + ".svg"), "w", encoding="utf-8") as file:
                file.write(standalone(pictures, figure["charts"]))
        chapters.append(chapter(name, figure, bool(pictures)))
    with open(os.path.join(out, "README.md"), "w", encoding="utf-8") as file:
        file.write("# Figures\n\nWritten by `scripts/figures.py`; what to make of them is said in "
                   "[performance.md](../performance.md).\n\n" + "\n".join(chapters))
    return browsed
