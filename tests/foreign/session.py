"""Works in sandboxes with Modal's own SDK: commands, files, tags, a snapshot.

Reads one JSON object from standard input; its keys are those of `run`. Server
and account come from the environment, as the SDK has it.
"""

import json
import sys
from typing import Any

import modal


def run(
    app: str,
    image: str,
    local: str,
    options: dict[str, Any],
    command: list[str],
    command_options: dict[str, Any],
    input: str,
    tags: dict[str, str],
) -> None:
    found = modal.App.lookup(app, create_if_missing=True)
    sandbox = modal.Sandbox.create(
        app=found, image=modal.Image.from_registry(image), **options
    )
    sandbox.set_tags({"zenml-sandbox-id": sandbox.object_id})

    process = sandbox.exec(*command, **command_options)
    process.stdin.write(input)
    process.stdin.drain()
    process.stdin.write_eof()
    process.stdin.drain()
    process.stdout.read()
    process.stderr.read()
    process.wait()
    sandbox.exec("true", pty=True).wait()
    sandbox.exec("true", timeout=60).wait()

    sandbox.filesystem.copy_from_local(local, "/d/file")
    sandbox.filesystem.copy_to_local("/d/file", local + ".down")

    sandbox.set_tags(tags)
    sandbox.get_tags()
    list(modal.Sandbox.list(app_id=found.app_id, tags=tags))

    kept = sandbox.snapshot_filesystem()
    restored = modal.Sandbox.create(
        app=found, image=modal.Image.from_id(kept.object_id), timeout=300
    )
    restored.set_tags({"zenml-sandbox-id": restored.object_id})
    restored.terminate()

    attached = modal.Sandbox.from_id(sandbox.object_id)
    attached.exec("true").wait()
    attached.terminate()


if __name__ == "__main__":
    run(**json.load(sys.stdin))
