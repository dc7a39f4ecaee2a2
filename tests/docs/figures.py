"""Where README and docs have figures of records: words around each, and in braces what it is (see `published.py`).

`python tests/docs/figures.py` writes what the records say today into README and docs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the mixers of this tree, whatever is installed

import measured  # noqa: F401 - its figures are known once it is imported
from published import ROOT, figure

FIELD = re.compile(r"\{([^{}]+)\}")
TEMPLATES = [
    line for line in (Path(__file__).with_suffix(".txt")).read_text(encoding="utf-8").splitlines() if line.strip()
]


def places() -> list[tuple[str, str]]:
    """(file, template) of every place."""
    found, name = [], ""
    for line in TEMPLATES:
        if line.startswith("# "):
            name = line.removeprefix("# ")
        else:
            found.append((name, line))
    return found


def pattern(template: str) -> re.Pattern[str]:
    """What finds a template in a file, however its lines are broken, with a group for each figure."""
    parts = FIELD.split(template)
    assert parts[0].strip() and parts[-1].strip(), f"words are missing around {template}"
    parts[::2] = [r"\s+".join(map(re.escape, re.split(r"\s+", text))) for text in parts[::2]]
    parts[1::2] = [r"(\S(?:.*?\S)??)"] * (len(parts) // 2)
    return re.compile("".join(parts), re.DOTALL)


def fields(template: str) -> list[str]:
    return FIELD.findall(template)


def plain(text: str) -> str:
    return " ".join(text.split())


def main() -> None:
    for name, template in places():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        found = pattern(template).search(text)
        if not found:
            print(f"{name} has no such words any more: {template}")
            continue
        for number, asked in reversed([*enumerate(fields(template), 1)]):
            new, (start, end) = figure(asked), found.span(number)
            if end - start > 2 * len(new) + 200:
                print(f"{name}: {asked}: the words around it are too far apart: {plain(text[start:end])[:60]}")
            elif plain(text[start:end]) != plain(new):
                print(f"{name}: {asked}: {plain(text[start:end])[:60]} -> {plain(new)[:60]}")
                text = text[:start] + new + text[end:]
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
