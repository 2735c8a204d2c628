"""The `aws` commands of the documents: each is understood by the AWS CLI, and most are run as they are written."""

import json
import os
import re
import subprocess

from stack import REGION, ROOT, STACK, VENV, WORK, Failure

DOCUMENTS = [ROOT / "functions" / "setup" / name for name in ("README.md", "RUNBOOK.md")]
FOLDER = WORK / "documents"

# The stack's outputs under the names that the documents use.
OUTPUTS = {
    "API_FUNCTION": "ApiFunctionName",
    "DEAD_LETTER_QUEUE_ARN": "DeadLetterQueueArn",
    "EVENTS_QUEUE_ARN": "EventsQueueArn",
    "EVENT_PROCESSOR_FUNCTION": "EventProcessorFunctionName",
    "FOLLOW_UPS_FUNCTION": "FollowUpsFunctionName",
    "SECRET_ARN": "SecretArn",
    "SETUP_FUNCTION": "SetupFunctionName",
    "TABLE_NAME": "TableName",
}

# What is not run, by words of its block, and why.
NOT_RUN = {
    "start-message-move-task": "the local AWS has no such call",
    "describe-query-definitions": "the local AWS has no saved queries",
    "--restore-date-time": "the local AWS keeps no earlier states",
    "list-backups": "the local AWS makes no backup of a table that is deleted",
    "update-function-code": "it needs a release build",
    "logs tail": "only the second version of the CLI has it, which is on no registry",
}

# For the shell that only says which commands there are.
STAND_INS = r"""
aws() {
  printf '%s\x1f' "$@" >> "$RECORD"; printf '\x1e' >> "$RECORD"
  case "$*" in
    *BackupArn*) echo arn:aws:dynamodb:eu-central-1:123456789012:table/messenger/backup/1 ;;
    *sk.S*) echo one two ;;
    *) echo 7 ;;
  esac
}
cargo() { :; }
sam() { :; }
sleep() { :; }
"""

# The PyPI package is the CLI's first version, which takes payloads as they are and has no option for that.
COMMAND = """#!/usr/bin/env bash
words=()
while (($#)); do
  if [[ $1 == --cli-binary-format ]]; then shift; else words+=("$1"); fi
  shift
done
exec "{cli}" "${{words[@]}}"
"""


def blocks():
    """Each block of shell commands that calls AWS."""
    for document in DOCUMENTS:
        for block in re.findall(r"^```sh\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL):
            if re.search(r"\baws ", block):
                yield block


def shell(block, path, **variables):
    """What a block writes."""
    FOLDER.mkdir(exist_ok=True)
    environment = os.environ | {"PATH": path} | variables
    block = block.replace("messenger-backend-prod", STACK)
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failure(f"{block}\n{done.stdout}\n{done.stderr}")
    return done.stdout


class Documents:
    """The blocks, and which of them have been run."""

    def __init__(self):
        self.left = list(blocks())

    def run(self, stack, words, **variables):
        """Runs the block with these words, with the stack's outputs as variables."""
        found = [block for block in blocks() if words in block]
        if len(found) != 1:
            raise Failure(f"{len(found)} blocks with {words}")
        if found[0] in self.left:
            self.left.remove(found[0])
        program = FOLDER / "bin" / "aws"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(COMMAND.format(cli=VENV / "awscli" / "bin" / "aws"))
        program.chmod(0o755)
        known = {name: stack.outputs[output] for name, output in OUTPUTS.items() if output in stack.outputs}
        path = f"{program.parent}:{os.environ['PATH']}"
        return shell(found[0], path, **{"STACK": STACK, **known, **variables})

    def not_run(self):
        """What was not run and has no reason for it, and reasons that no block has."""
        without = [block for block in self.left if not any(words in block for words in NOT_RUN)]
        unused = [words for words in NOT_RUN if not any(words in block for block in self.left)]
        return without + unused


def misunderstood():
    """How many commands there are, and what the AWS CLI does not understand of them."""
    FOLDER.mkdir(exist_ok=True)
    record = FOLDER / "commands"
    record.unlink(missing_ok=True)
    names = set(re.findall(r"\$\{?([A-Z_]+)", "".join(blocks())))
    # A block sets some of them itself.
    values = {name: f"name-of-{name.lower()}".replace("_", "-") for name in names}
    values |= {name: "3" for name in ("ID", "SINCE") if name in names}
    values |= {name: f"{name.lower():_<36}".replace("_", "-") for name in ("VERSION_WANTED", "VERSION_NOW")}
    for block in blocks():
        shell(STAND_INS + block, os.environ["PATH"], **{**values, "RECORD": str(record)})
    commands = [command.split("\x1f")[:-1] for command in record.read_text().split("\x1e")[:-1]]
    python = VENV / "awscli" / "bin" / "python"
    check = [str(python), "-B", str(ROOT / "tests" / "stack" / "understands.py")]
    done = subprocess.run(check, cwd=FOLDER, input=json.dumps(commands), capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failure(done.stderr)
    return len(commands), json.loads(done.stdout)
