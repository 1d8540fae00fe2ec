"""What scripts/bench and scripts/bench-peers have in common: the machine, the JSON file, a chart of bars."""

import json
import os
import platform
import subprocess
from xml.sax.saxutils import escape

WIDTH, TITLE_WIDTH, NOTE_WIDTH = 960, 230, 250
BAR, GAP, TOP = 11, 9, 64
SMALL = 'font-size="9" fill="#555"'
COLOURS = ("#2f6f9f", "#e08a3c", "#7a9f5f", "#9f6f9f")


class Failed(Exception):
    """A measurement that says nothing: something did not start, or a line is missing."""


def clean_environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith("MPLOGSHIM_") and name != "LD_PRELOAD"}


def knows_keys(library, keys):
    """Whether the library takes these keys of a rule."""
    environment = clean_environment() | {"LD_PRELOAD": library, "MPLOGSHIM_STRICT": "1",
                                         "MPLOGSHIM_LOGS": f"/nowhere/*.log,{keys}"}
    return subprocess.run(["true"], env=environment, stderr=subprocess.DEVNULL, check=False).returncode == 0


def cpu_model():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def file_system(path):
    """The type of the file system of a path: of the last mount whose point is above it."""
    path, best = os.path.realpath(path), ("", "")
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            words = line.split()
            point, kind = words[4], words[words.index("-") + 1]
            if os.path.commonpath((path, point)) == point and len(point) >= len(best[0]):
                best = (point, kind)
    return best[1]


def machine(directory):
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "kernel": f"Linux {platform.release()}",
        "file_system": file_system(directory),
        "libc": os.confstr("CS_GNU_LIBC_VERSION"),
        "load": round(os.getloadavg()[0], 2),  # before: more than a little, and the figures are not worth much
    }


def describe(facts):
    return (f"{facts['cpu']}, {facts['cores']} cores, {facts['kernel']}, {facts['file_system']}, {facts['libc']}; "
            f"load before: {facts['load']}")


def commit():
    answer = subprocess.run(["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return answer.stdout.strip()


def write_json(path, report):
    with open(path, "w", encoding="utf-8") as output:
        json.dump(report, output, indent=2, ensure_ascii=False)
        output.write("\n")


def text(x, y, words, anchor="start", style=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" {style}>{escape(words)}</text>'


def bar(x, y, width, colour):
    return f'<rect x="{x:.0f}" y="{y:.0f}" width="{max(width, 1):.1f}" height="{BAR}" fill="{colour}"/>'


def write_chart(path, title, subtitle, series, rows, most):
    """Horizontal bars. `rows`: (name, a value for each of the series or None, a note, whether it is ours). Values above
    `most` are cut off, with their number beside them."""
    scale = (WIDTH - TITLE_WIDTH - NOTE_WIDTH - 60) / most
    height_of_row = BAR * len(series) + GAP
    bottom = TOP + height_of_row * len(rows)
    parts = [text(10, 22, title, style='font-size="16" font-weight="bold"'), text(10, 40, subtitle, style='fill="#555"')]
    for i, name in enumerate(series):
        parts.append(bar(TITLE_WIDTH + 170 * i, 48, BAR, COLOURS[i]))
        parts.append(text(TITLE_WIDTH + 170 * i + BAR + 4, 57, name))
    one = TITLE_WIDTH + scale
    for i, (name, values, note, ours) in enumerate(rows):
        y = TOP + 4 + i * height_of_row
        middle = y + BAR * len(series) / 2 + 4
        parts.append(text(TITLE_WIDTH - 8, middle, name, "end", 'font-weight="bold"' if ours else ""))
        parts.append(text(WIDTH - 10, middle, note, "end"))
        for j, value in enumerate(values):
            if value is None:
                continue
            width = min(value, most) * scale
            parts.append(bar(TITLE_WIDTH, y + j * BAR, width, COLOURS[j]))
            parts.append(text(TITLE_WIDTH + width + 4, y + j * BAR + 9, f"{value:.2f}", style=SMALL))
    parts.append(f'<line x1="{one:.0f}" y1="{TOP}" x2="{one:.0f}" y2="{bottom}" stroke="#999" stroke-dasharray="3 3"/>')
    with open(path, "w", encoding="utf-8") as output:
        output.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 10}" '
                     f'viewBox="0 0 {WIDTH} {bottom + 10}" font-family="sans-serif" font-size="12">\n'
                     f'<rect width="100%" height="100%" fill="white"/>\n')
        output.write("\n".join(parts) + "\n</svg>\n")
