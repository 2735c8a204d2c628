"""Judges the calls to AWS that the tests recorded: judge.py FOLDER. Described in tests/README.md."""

import re
import sys
import time
from collections import Counter

import models
import replay
import rights
from calls import Unusable, files, read
from template import load


def of_functions(folder):
    for file in files(folder):
        yield from (call for call in read(file) if call.function is not None)


def by_models(folder):
    """Each broken rule once, with the first call that breaks it."""
    count, first = Counter(), {}
    for call in of_functions(folder):
        count[call.service] += 1
        asked = [(member, rule, "") for member, rule in models.broken_by(call)]
        answered = [(member, rule, "the answer's ") for member, rule in models.answer_broken_by(call)]
        for member, rule, whose in asked + answered:
            rule_of_member = (call.target, whose, re.sub(r"[0-9]+", "", member), rule)
            first.setdefault(rule_of_member, f"{call}: {whose}{member}: {rule}")
    words = [f"a description no longer says: {words}" for words in models.unsaid()]
    subject = ", ".join(f"{number} calls of {service}" for service, number in sorted(count.items()))
    return subject or "no call of a function", words + list(first.values())


def by_rights(folder):
    return "the policies of template.yaml", rights.judged(load(), of_functions(folder))


def by_replay(folder):
    compared, differences = replay.judged(folder)
    return f"{compared} calls to the table", differences


JUDGES = {"models": by_models, "rights": by_rights, "replay": by_replay}


def main(folder, *names):
    refused = False
    for name in names or JUDGES:
        began = time.monotonic()
        subject, faults = JUDGES[name](folder)
        print(f"{name}: {subject}, {len(faults)} faults, {time.monotonic() - began:.0f} s", flush=True)
        for fault in faults:
            print(f"  {fault}")
        refused |= bool(faults)
    return int(refused)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Unusable as unusable:
        sys.exit(f"judges: {unusable}")
