"""Creates a sandbox with Modal's own SDK, and waits for its end or terminates it.

Reads one JSON object from standard input; its keys are those of `run`. Server
and account come from the environment, as the SDK has it.
"""

import json
import sys
from typing import Any

import modal


def run(
    app: str,
    app_environment: str | None,
    image: str,
    registry: dict[str, str] | None,
    command: list[str],
    secret: dict[str, str],
    options: dict[str, Any],
    wait: bool,
) -> None:
    found = modal.App.lookup(app, create_if_missing=True, environment_name=app_environment)
    login = modal.Secret.from_dict(registry) if registry else None
    sandbox = modal.Sandbox.create(
        *command,
        app=found,
        image=modal.Image.from_registry(image, secret=login),
        secrets=[modal.Secret.from_dict(secret)] if secret else [],
        **options,
    )
    if wait:
        sandbox.wait(raise_on_termination=False)
    else:
        sandbox.terminate()


if __name__ == "__main__":
    run(**json.load(sys.stdin))
