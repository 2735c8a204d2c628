"""Judges what bots behind a URL are asked and answer by the published schemas: turns.py FOLDER

The folder has the turns and decisions of the search, a line of JSON for each. The sample bots are asked with the same
turns, signed, and what they answer is judged too.
"""

import contextlib
import hashlib
import hmac
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from jsonschema import Draft202012Validator

SCHEMAS = Path("shared/messenger/schema")
SECRET = "the secret of the judge"
SAMPLES = {"Python": [sys.executable, "-B", "tests/bots/http/bot.py"], "JavaScript": ["node", "tests/bots/http/bot.mjs"]}
# How many of the turns each sample is asked with.
ASKED = 40


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def faults(judge, document):
    """What a schema says against a document, each with its place."""
    return [f"{error.json_path}: {error.message}" for error in judge.iter_errors(document)]


def recorded(folder):
    for file in sorted(Path(folder).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            yield json.loads(line)


@contextlib.contextmanager
def running(command):
    """A sample bot: the URL that it answers at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bot = subprocess.Popen(command, env={**os.environ, "PORT": str(port), "REPLY_SECRET": SECRET})
    try:
        while True:
            if bot.poll() is not None:
                raise RuntimeError(f"{command} ended with {bot.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
        yield f"http://127.0.0.1:{port}/"
    finally:
        bot.kill()
        bot.wait()


def ask(url, turn):
    body = json.dumps(turn).encode()
    at = str(int(time.time()))
    tag = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Messenger-Signature-256": f"t={at},v1={tag}"}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
        return json.load(answer)


def main(folder):
    turn, decision = validator("reply-turn"), validator("reply-decision")
    found, pairs = [], list(recorded(folder))
    for pair in pairs:
        found += [f"turn: {fault}" for fault in faults(turn, pair["turn"])]
        found += [f"decision: {fault}" for fault in faults(decision, pair["decision"])]
    for language, command in SAMPLES.items():
        with running(command) as url:
            remembered = None
            for pair in pairs[:ASKED]:
                conversation = {**pair["turn"]["conversation"], "state": remembered}
                answer = ask(url, {**pair["turn"], "conversation": conversation})
                remembered = answer.get("state", remembered)
                found += [f"{language}: {fault}" for fault in faults(decision, answer)]
    print(f"{len(pairs)} turns and decisions, {len(SAMPLES)} sample bots: {len(found)} faults")
    print("\n".join(sorted(set(found))[:20]))
    return 0 if pairs and not found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
