"""Checks that what the documents name as a test runs one: tests/lint/names.py

`cargo test NAME` with a name that no test has runs nothing and says "ok". So each `cargo test` command in a Markdown
file, and each name in a table with the column "Shown by", is held against the list of tests.
"""

import os
import re
import shlex
import subprocess
import sys

WITH_VALUE = {"-p", "--package", "--test", "--bin", "--example", "--features", "--profile", "--target"}
PLACEHOLDER = "NAME"


def main():
    files = output("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md").split()
    commands, rows, wrong, lists = 0, 0, [], {}
    for file in filter(os.path.exists, files):
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
        for command in commands_in(text):
            options, names = parse(command)
            for name in names:
                if name != PLACEHOLDER:
                    commands += 1
                    wrong += missing(name, options, lists, f"{file}: {command}")
        for row, names in promises_in(text):
            rows += 1
            if not names:
                wrong.append(f"{file}: no test is named: {row}")
            for name in names:
                if "/" in name:
                    if not os.access(name, os.X_OK):
                        wrong.append(f"{file}: there is no program {name}")
                else:
                    wrong += missing(name, ("--workspace",), lists, f"{file}: {name}")
    if not commands or not rows:
        wrong.append(f"{commands} commands with a name and {rows} rows of promises: this check would check nothing")
    for line in wrong:
        print(line, file=sys.stderr)
    tests = len(lists.get(("--workspace",), []))
    print(f"{commands} commands and {rows} promises, {tests} tests: {len(wrong)} wrong")
    return bool(wrong)


def commands_in(text):
    """Each `cargo test` command in a code block or between backquotes."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    lines = [line for block in blocks for line in block.splitlines()]
    return [found[0] for line in lines + spans if (found := re.search(r"\bcargo test\b[^#|;&]*", line))]


def parse(command):
    """The options of cargo, and the names that it filters by."""
    options, names, words = [], [], iter(shlex.split(command)[2:])
    for word in words:
        if word in WITH_VALUE:
            options += [word, next(words)]
        elif word == "--":
            # What follows is for the tests' harness; of that only names select tests.
            names += [word for word in words if not word.startswith("-")]
        elif word.startswith("-"):
            options.append(word)
        else:
            names.append(word)
    return tuple(options), names


def promises_in(text):
    """Each row of a table with the column "Shown by", and what it names there."""
    cells = None
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = None
            continue
        row = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if cells is None:
            cells = row.index("Shown by") if "Shown by" in row else -1
        elif cells >= 0 and not set(line) <= set("|-: "):
            yield row[0], re.findall(r"`([^`]+)`", row[cells])


def missing(name, options, lists, place):
    if options not in lists:
        lists[options] = tests_of(options) - tests_of(options, "--ignored")
    if any(name in test for test in lists[options]):
        return []
    return [f"{place}: no test has {name} in its name"]


def tests_of(options, *harness):
    listed = output("cargo", "test", "--quiet", "--locked", *options, "--", "--list", *harness)
    return {line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")}


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


sys.exit(main())
