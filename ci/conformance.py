"""docs/conformance.md from the outcomes of the conformance tests: a row for each test, a column for each system.

usage: ci/conformance.py OUTCOMES [--windows OUTCOMES] [--check]

An outcome is a file of one line that a test has written: lines, test, driver, outcome, reason and what it asserts, with tabs between.
The column of a system that nothing ran on here stays as the table has it: that of Windows without --windows, that of io_uring where there
is none. Fails if a test has failed or was not run, if fewer than LEAST lines are covered, and, with --check, if the table is not the one
that is there, its date apart.
"""

import argparse
import collections
import datetime
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/conformance.md"
SEMANTICS = ROOT / "docs/semantics.md"
EXCEPTIONS = ROOT / "crates/completion-port/tests/conformance/exceptions.rs"
LINES = 193
LEAST = 120

Test = collections.namedtuple("Test", "lines name says")

COLUMNS = {
    "Windows (Wine)": lambda driver: driver.startswith("windows"),
    "io_uring": lambda driver: driver.startswith("io_uring"),
    "readiness": lambda driver: driver == "readiness",
}
NOT_RUN = "not run"

HEAD = """\
# Conformance

What Windows' completion ports and overlapped I/O do, and what tests show this library doing: the lines are those of
[semantics.md](semantics.md), and each row is a test of `crates/completion-port/tests/conformance`, which says what it asserts. The same
tests run on every driver and every system. `ci/conformance` makes this page.

| | |
| --- | --- |
"""

EXPLAINED = """
- io_uring: all rungs of it that this kernel has. What a driver is skipped for is said in its column.
- Windows (Wine): the drivers `windows` and `windows:unlimited` under Wine. What Wine does not do by itself is an exception there
  (`tests/conformance/exceptions.rs`); on Windows itself there is none. What takes a limit that the kernel keeps, it shows with the
  second of them only, whose limit the library keeps.
- Lines without a row here are of the C interface alone, do not arise, or are kept in a way that no such test can show;
  semantics.md says which.
"""


def read(directory):
    """The tests, and their outcomes by test and driver."""
    tests, outcomes = {}, {}
    for path in sorted(pathlib.Path(directory).iterdir()):
        lines, name, driver, outcome, reason, says = path.read_text().rstrip("\n").split("\t")
        tests[name] = Test(tuple(lines.split()), name, says)
        outcomes[name, driver] = (outcome, reason)
    if not tests:
        sys.exit(f"{directory}: there are no outcomes")
    return tests, outcomes


def cell(name, column, outcomes):
    """What a column says of a test: of several drivers, the worst; of reasons, the first."""
    mine = [told for (test, driver), told in outcomes.items() if test == name and COLUMNS[column](driver)]
    for outcome, reason in sorted(mine, key=lambda told: ("failed", "ok", "skipped").index(told[0])):
        return f"skipped: {reason}" if outcome == "skipped" else outcome
    return NOT_RUN


def there():
    """What the table as it is says, by test and column; of a test that is still what it was."""
    rows = [line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines()] if TABLE.exists() else []
    rows = [row for row in rows if len(row) == 3 + len(COLUMNS) and row[0].startswith("S")]
    tests = [Test(tuple(row[0].split()), row[-1].strip("`"), row[1]) for row in rows]
    return {(test, column): told for test, row in zip(tests, rows) for column, told in zip(COLUMNS, row[2:])}


def chapters():
    """By line, the chapter of semantics.md that it is in."""
    chapter, by_line = None, {}
    for text in SEMANTICS.read_text().splitlines():
        if text.startswith("## "):
            chapter = text[3:]
        elif row := re.match(r"\| (S\d+) \|", text):
            by_line[row[1]] = chapter
    return by_line


def made(tests, cells):
    by_line = chapters()
    by_chapter = {chapter: [] for chapter in by_line.values()}
    for test in sorted(tests.values(), key=lambda test: int(test.lines[0][1:])):
        by_chapter[by_line[test.lines[0]]].append(test)
    covered = {line for test in tests.values() for line in test.lines if "ok" in cells[test.name].values()}
    if len(covered) < LEAST:
        sys.exit(f"{len(covered)} lines are covered, and not {LEAST}")
    exceptions, unlimited = (
        len(re.findall(rf"^    {kind}\(", EXCEPTIONS.read_text(), re.MULTILINE)) for kind in ("wine", "unlimited")
    )
    counts = {
        "lines covered": f"{len(covered)} of {LINES}",
        "tests": len(tests),
        "exceptions under Wine": f"{exceptions}, and {unlimited} of the driver `windows` alone",
        "made": datetime.date.today().isoformat(),
    }
    text = HEAD + "".join(f"| {name} | {count} |\n" for name, count in counts.items()) + EXPLAINED
    for chapter, those in by_chapter.items():
        if not those:
            continue
        text += f"\n## {chapter}\n\n| lines | what is shown | {' | '.join(COLUMNS)} | test |\n| --- | --- |{' --- |' * 4}\n"
        for test in those:
            says = " | ".join(cells[test.name].values())
            text += f"| {' '.join(test.lines)} | {test.says} | {says} | `{test.name}` |\n"
    return text


def undated(text):
    return re.sub(r"^\| made \| .*\n", "", text, flags=re.MULTILINE)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("outcomes")
    parser.add_argument("--windows")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    tests, outcomes = read(arguments.outcomes)
    if arguments.windows:
        theirs, more = read(arguments.windows)
        if theirs != tests:
            sys.exit("the outcomes of Windows are of other tests")
        outcomes.update(more)
    cells = {name: {column: cell(name, column, outcomes) for column in COLUMNS} for name in tests}
    before, bad = there(), []
    for column in COLUMNS:
        told = [cells[name][column] for name in tests]
        if set(told) == {NOT_RUN} or len(set(told)) == 1 and told[0].startswith("skipped"):
            # Nothing ran there.
            for name in tests:
                cells[name][column] = before.get((tests[name], column), NOT_RUN)
        else:
            bad += [f"{name}, {column}: {cells[name][column]}" for name in tests if cells[name][column] in ("failed", NOT_RUN)]
    if bad:
        sys.exit("\n".join(bad))
    text = made(tests, cells)
    if not arguments.check:
        TABLE.write_text(text)
    elif not TABLE.exists() or undated(TABLE.read_text()) != undated(text):
        sys.exit("docs/conformance.md is not what the run shows; ci/conformance makes it anew")
    print(f"docs/conformance.md: {len(tests)} tests")


main()
