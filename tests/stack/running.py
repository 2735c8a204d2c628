"""Runs the checks of a stack: a line for each, and their sum."""

import re
import signal
import time
import traceback

from stack import ROOT, Failure


def passes(stack, name, check):
    """Runs a check and prints its line."""
    started = time.monotonic()
    try:
        check(stack)
        why = []
    except Failure as failure:
        why = [str(failure)]
    except Exception:
        why = [traceback.format_exc()]
    why += stack.ended()
    print(f"{'FAIL' if why else 'ok  '}  {name} ({time.monotonic() - started:.1f} s)", *why, sep="\n      ", flush=True)
    return not why


def run(stack, preparations, checks):
    """Prepares a stack, checks it and stops it; returns the status to exit with."""
    # As Ctrl-C does, so that the processes are stopped as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # Each needs the one before it.
        if not all(passes(stack, name, prepare) for name, prepare in preparations.items()):
            return 1
        passed = [passes(stack, check.__doc__, check) for check in checks]
        lines = stack.log_lines()
        (stack.work / "functions.log").write_text("\n".join(lines))
        if not all(passed):
            print(f"\nWarnings and errors of the functions; all logs are in {stack.work.relative_to(ROOT)}:")
            print(*(line for line in lines if re.search("WARN|ERROR|errorType", line)), sep="\n")
    finally:
        stack.stop()
    # In the words of cargo's test runner.
    print(f"\ntest result: {'ok' if all(passed) else 'FAILED'}. {sum(passed)} passed; {passed.count(False)} failed")
    return 0 if all(passed) else 1
