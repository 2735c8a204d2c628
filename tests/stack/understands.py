"""Which commands the AWS CLI does not understand, by its models of the services: a list of commands in, faults out.

Nothing is sent anywhere.
"""

import contextlib
import io
import json
import re
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

from awscli.clidriver import create_clidriver

# What a command needs of an answer in order to end well.
ANSWERS = {
    "DescribeTable": lambda: {"Table": {"TableStatus": "ACTIVE"}},
    "FilterLogEvents": lambda: {"events": []},
    "Invoke": lambda: {"Payload": io.BytesIO()},
}


def broken(shape, value, path=""):
    """The rules of a model that the CLI itself does not check."""
    if shape.type_name == "structure":
        for name, member in value.items():
            yield from broken(shape.members[name], member, f"{path}.{name}")
    elif shape.type_name == "list":
        for member in value:
            yield from broken(shape.member, member, path)
    elif shape.type_name == "map":
        for member in value.values():
            yield from broken(shape.value, member, path)
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"{path} is {value!r}, not one of {', '.join(shape.enum)}"
        if "pattern" in shape.metadata and not re.fullmatch(shape.metadata["pattern"], value):
            yield f"{path} is {value!r}, which does not match {shape.metadata['pattern']}"


def quiet_driver(found):
    """The CLI, which looks at its calls and answers them itself."""

    def look(params, model, **_):
        found.extend(broken(model.input_shape, params))

    def answer(model, **_):
        return SimpleNamespace(status_code=200), ANSWERS.get(model.name, dict)()

    driver = create_clidriver()
    driver.session.register("before-parameter-build", look)
    driver.session.register("before-call", answer)
    return driver


def faults(driver, found, words):
    words = list(words)
    # The first version of the CLI, which has a package on PyPI, takes payloads as they are.
    if "--cli-binary-format" in words:
        place = words.index("--cli-binary-format")
        del words[place : place + 2]
    # Nor has it this one, which repeats that call.
    if words[:2] == ["logs", "tail"]:
        group, since, _, *others = words[2:]
        words = ["logs", "filter-log-events", "--log-group-name", group, *others]
        if since != "--since":
            return [f"logs tail: {since}"]
    for word in words:
        if word.startswith("file://"):
            Path(word.removeprefix("file://")).write_text("{}")
        if word.startswith("fileb://"):
            file = Path(word.removeprefix("fileb://"))
            file.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("bootstrap", "")
    found.clear()
    said = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        try:
            status = driver.main(words)
        except SystemExit as ended:
            status = ended.code
    if status:
        found.append(said.getvalue().strip()[-300:])
    return [f"{' '.join(words)}: {fault}" for fault in found]


def main():
    found = []
    driver = quiet_driver(found)
    print(json.dumps([fault for words in json.load(sys.stdin) for fault in faults(driver, found, words)]))


if __name__ == "__main__":
    main()
