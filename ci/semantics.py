"""docs/semantics.md against the tests: which line of Windows' behaviour is kept, and by which test that is shown.

usage: ci/semantics.py             check; what is wrong is said, and fails
       ci/semantics.py --tests     for each line the tests that cite it, to write a row by
       ci/semantics.py --draw N SEED   N of the lines that are kept, drawn by a seed, with their tests: to invert and to try

A row is `| S85 | on Windows | verdict | here | shown by |`. The verdict is one of VERDICTS. A line that is kept names a test, and
one that is kept differently names one or has its reason in "here"; a test is `FILE::FUNCTION`, the file without `tests/` and `.rs`,
in `crates/completion-port` unless it begins with `src/` (there too) or another crate's name and a colon. The comments of the function,
or those at the head of its file, must cite the line; of a conformance test, the row that registers it.
"""

import pathlib
import random
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/semantics.md"
LINES = 193
MOST_KEPT_NEEDED = 110
VERDICTS = ("kept", "differently", "Win32-only", "not applicable")

ROW = re.compile(r"^\| S(\d+) \|(.*)\|$")
CITATION = re.compile(r"\bS(\d{1,3})\b(?:\s*(?:-|to)\s*S(\d{1,3})\b)?")
FUNCTION = re.compile(r"^\s*(?:pub(?:\(\w+\))? )?fn (\w+)")
TEST = re.compile(r"`([\w:/.-]+?)::(\w+)`")
# A row of `conformance!`: a test, and the lines that it proves.
REGISTERED = re.compile(r"^    (\w+) \[((?:S\d+ ?)+)\]$", re.MULTILINE)


def cited(text):
    """The lines that a text cites, ranges spelled out."""
    lines = set()
    for first, last in CITATION.findall(text):
        lines.update(range(int(first), int(last or first) + 1))
    return lines


def rows():
    """By number: what Windows does, the verdict, what is here, and the tests."""
    table = {}
    for text in TABLE.read_text().splitlines():
        row = ROW.match(text)
        if not row:
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row[2])]
        if len(cells) != 4:
            sys.exit(f"S{row[1]}: {len(cells) + 1} columns in docs/semantics.md, and not 5")
        number = int(row[1])
        if number in table:
            sys.exit(f"S{number} has two rows in docs/semantics.md")
        table[number] = cells
    return table


def path_of(file):
    """Where a test's file is, as the table names it."""
    if file.startswith("src/"):
        return ROOT / f"crates/completion-port/{file}.rs"
    crate, _, rest = file.rpartition(":")
    return ROOT / f"crates/{crate or 'completion-port'}/tests/{rest}.rs"


def functions(path):
    """Of a file: each function, and the lines that are cited by its comments or its body; and those that the file's head cites."""
    head, comment, found, name = set(), set(), {}, None
    for line in path.read_text().splitlines():
        stripped = line.strip()
        function = FUNCTION.match(line)
        if stripped.startswith("//!"):
            head |= cited(stripped)
        elif function:
            name = function[1]
            found.setdefault(name, set()).update(comment | cited(line))
            comment = set()
        elif stripped.startswith("//") and not line.startswith(" "):
            comment |= cited(stripped)
        elif name:
            found[name] |= cited(line)
        if line == "}":
            name, comment = None, set()
    for name, lines in REGISTERED.findall(path.read_text()):
        found.setdefault(name, set()).update(cited(lines))
    return head, found


def tests_of_all_lines():
    """By line, the tests that cite it, as the table would name them."""
    by_line = {}
    for path in sorted(ROOT.glob("crates/*/tests/**/*.rs")) + sorted(ROOT.glob("crates/*/src/**/*_test*.rs")):
        crate, kind, *rest = path.relative_to(ROOT / "crates").with_suffix("").parts
        file = "/".join(rest if kind == "tests" else [kind, *rest])
        prefix = "" if crate == "completion-port" else f"{crate}:"
        for name, lines in functions(path)[1].items():
            for line in lines:
                by_line.setdefault(line, []).append(f"`{prefix}{file}::{name}`")
    return by_line


def wrong_with(number, row):
    """What is wrong with a row, if anything."""
    windows, verdict, here, shown = row
    if verdict not in VERDICTS:
        return f"its verdict is {verdict!r}, and not one of {', '.join(VERDICTS)}"
    if not windows or not here:
        return "it says too little"
    tests = TEST.findall(shown)
    if verdict == "kept" and not tests:
        return "it is kept, and no test is named"
    for file, name in tests:
        path = path_of(file)
        if not path.is_file():
            return f"{path.relative_to(ROOT)} does not exist"
        head, found = functions(path)
        if name not in found:
            return f"there is no function {name} in {path.relative_to(ROOT)}"
        if number not in head | found[name]:
            return f"{file}::{name} does not cite it"
    return None


def check():
    table = rows()
    wrong = [f"S{n} has no row" for n in range(1, LINES + 1) if n not in table]
    wrong += [f"S{n}: there is no such line" for n in table if not 1 <= n <= LINES]
    wrong += [f"S{n}: {why}" for n, row in sorted(table.items()) if (why := wrong_with(n, row))]
    count = {verdict: sum(row[1] == verdict for row in table.values()) for verdict in VERDICTS}
    if count["kept"] < MOST_KEPT_NEEDED:
        wrong.append(f"{count['kept']} lines are kept, and not {MOST_KEPT_NEEDED}")
    for path in [*ROOT.glob("crates/**/*.rs"), *ROOT.glob("crates/*/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if "target" in path.parts:
            continue
        unknown = sorted(cited(path.read_text()) - set(range(1, LINES + 1)))
        if unknown:
            wrong.append(f"{path.relative_to(ROOT)} cites lines that there are not: {unknown}")
    if wrong:
        sys.exit("docs/semantics.md:\n  " + "\n  ".join(wrong))
    print("docs/semantics.md: " + ", ".join(f"{n} {verdict}" for verdict, n in count.items()))


def draw(how_many, seed):
    kept = {n: row for n, row in rows().items() if row[1] == "kept"}
    for number in sorted(random.Random(seed).sample(sorted(kept), how_many)):
        print(f"S{number}: {kept[number][0]}: {kept[number][3]}")


match sys.argv[1:]:
    case []:
        check()
    case ["--tests"]:
        for number, tests in sorted(tests_of_all_lines().items()):
            print(f"S{number}: {' '.join(tests)}")
    case ["--draw", how_many, seed]:
        draw(int(how_many), int(seed))
    case _:
        sys.exit(__doc__)
