"""Write docs/benchmarks.md from the recorded results in bench/results.

The newest result of each benchmark is shown; older ones stay in the folder. `--check` writes nothing and fails where the page
differs.
What it is not: a benchmark; it measures nothing.

    python bench/report.py            python bench/report.py --check
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
RESULTS = HERE / "results"

HEAD = """# Benchmarks

Written by `python bench/report.py` from the files in `bench/results/`; do not edit it by hand.

Ours and the other run on the same work in one session, in alternation. A result is the median with a 95 % bootstrap interval, a
ratio is taken within each round; "reached" means that the interval's lower end reaches. The raw seconds of every
round are in the JSON file that is named. Figures hold for the machine described beside them, and for how busy it was.
"""


def newest(folder: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Return bench -> (file, content) of the last result of each, by date and then by name."""
    found: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json"), key=lambda path: path.name):
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.get("quick"):
            continue  # a try whether it runs; no figure
        name = str(content.get("bench") or path.stem.split("-")[0])
        last = found.get(name)
        if last is None or str(content.get("at", "")) >= str(last[1].get("at", "")):
            found[name] = (path, content)
    return dict(sorted(found.items()))


def page(folder: Path) -> str:
    """Return the whole page."""
    parts = [HEAD.rstrip("\n")]
    results = newest(folder)
    if not results:
        parts += ["", "Nothing has been recorded yet: `make bench BENCH=cli` records the first result."]
    for name, (path, content) in results.items():
        parts += ["", *SECTIONS.get(name, other)(content), "", *foot(path, content)]
    return "\n".join(parts) + "\n"


def cli(content: dict[str, Any]) -> Iterator[str]:
    """Return the lines on the start-up of the command line."""
    yield "## Start-up of the command line"
    yield ""
    yield "A new process for each run, from start to end. The ratio is to `septet --help` in the same round; 2 means twice as long."
    yield "The other rows are no rivals; they show what an interpreter, an import and other command lines cost on this machine."
    yield ""
    yield "| command | median | 95 % interval | ratio to `septet --help` | n |"
    yield "|---|---:|---:|---:|---:|"
    for row in content["rows"]:
        ratio = "1" if "ratio" not in row else f"{row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]"
        span = f"{row['low']:.3f} to {row['high']:.3f} s"
        yield f"| `{row['command']}` | {row['median']:.3f} s | {span} | {ratio} | {row['n']} |"


def other(content: dict[str, Any]) -> Iterator[str]:
    """Return the lines of a result without a section of its own: its words, its plain values, its rows."""
    yield f"## {content.get('title') or content.get('bench', 'Result')}"
    for text in filter(None, (content.get("about"), content.get("note"))):
        yield ""
        yield str(text)
    plain = {k: v for k, v in content.items() if isinstance(v, int | float | str) and k not in WORDS}
    if plain:
        yield ""
        yield "| | |"
        yield "|---|---:|"
        yield from (f"| {key.replace('_', ' ')} | {_shown(value)} |" for key, value in plain.items())
    rows = content.get("rows")
    if rows:
        columns = list(
            dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list | dict))
        )
        yield ""
        yield "| " + " | ".join(column.replace("_", " ") for column in columns) + " |"
        yield "|" + "---|" * len(columns)
        for row in rows:
            yield "| " + " | ".join(_shown(row.get(column, "")) for column in columns) + " |"


WORDS = frozenset({"bench", "title", "about", "note", "at", "command"})


def foot(path: Path, content: dict[str, Any]) -> Iterator[str]:
    """Return when, where and with what, and how to do it again."""
    machine, versions = content.get("machine") or {}, content.get("versions") or {}
    where = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in machine.items() if value is not None)
    what = ", ".join(f"{key} {value}" for key, value in versions.items())
    again = f" Again: `{content['command']}`." if content.get("command") else ""
    parts = [
        content.get("at"),
        where or "machine not recorded",
        what or "versions not recorded",
        f"`bench/results/{path.name}`",
    ]
    yield " · ".join(filter(None, parts)) + f".{again}"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")


SECTIONS: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {"cli": cli}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/benchmarks.md from bench/results.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page differs")
    check = parser.parse_args().check
    new, old = page(RESULTS), PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if new == old:
        return
    if check:
        sys.exit("docs/benchmarks.md differs from bench/results. Run: python bench/report.py")
    PAGE.write_text(new, encoding="utf-8")
    print("wrote docs/benchmarks.md")


if __name__ == "__main__":
    main()
