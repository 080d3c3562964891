"""What the server keeps: apps, images, secrets and scripted sandboxes.

A sandbox runs nothing of its own. Its script says how long it takes, what it
writes and how it ends; all of that happens whether or not anybody is listening.
Commands in it are processes of this machine.
"""

import asyncio
import base64
import itertools
import json
import string
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modal_proto import api_pb2 as pb

from commands import Command, keep

_LETTERS = string.digits + string.ascii_uppercase


@dataclass(frozen=True)
class Script:
    """How the sandboxes of one name behave."""

    duration: float = 0.0
    status: int = pb.GenericResult.GENERIC_STATUS_SUCCESS
    exit_code: int = 0
    exception: str = ""
    stdout: str = ""
    stderr: str = ""
    # Seconds until a sandbox of the older backend has a task.
    scheduled_after: float = 0.0


@dataclass(eq=False)
class Sandbox:
    """One sandbox, running or ended."""

    id: str
    task_id: str
    app_id: str
    name: str
    tags: dict[str, str]
    token: str
    script: Script
    created_at: float
    # Where its files are.
    directory: Path
    result: pb.GenericResult | None = None
    ended_at: float | None = None
    # How it ended: by its script, or because somebody asked.
    terminated: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None
    commands: dict[str, Command] = field(default_factory=dict)

    def end(self, result: pb.GenericResult) -> None:
        if self.result is None:
            self.result = result
            self.ended_at = time.time()
            self.ended.set()
            for command in self.commands.values():
                command.kill()
        if self.timer is not None:
            self.timer.cancel()

    def terminate(self) -> None:
        if self.result is None:
            self.terminated = True
            self.end(pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_TERMINATED))

    def is_scheduled(self) -> bool:
        return time.time() >= self.created_at + self.script.scheduled_after

    def told(self) -> dict[str, Any]:
        """As the control channel tells it."""
        return {
            "id": self.id,
            "name": self.name,
            "app": self.app_id,
            "tags": self.tags,
            "running": self.result is None,
            "terminated": self.terminated,
        }


class World:
    """Everything that outlives a connection."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.apps: dict[tuple[str, str], str] = {}
        self.images: dict[bytes, str] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.sandboxes: dict[str, Sandbox] = {}
        self.tasks: dict[str, Sandbox] = {}
        # The last sandbox of each name in each app.
        self.names: dict[tuple[str, str], Sandbox] = {}
        self.scripts: dict[str, Script] = {}
        # Answers to creating calls, by their idempotency keys.
        self.answers: dict[tuple[str, str], Any] = {}
        self.forgets_keys = False
        # When images are built, and how long that takes.
        self.image_build = 0.0
        self.built: dict[str, float] = {}
        self.token_life = 3600.0
        self.tokens: dict[str, float] = {}
        # Sandboxes in one page of a listing.
        self.page = 100
        # What the tokens of command routers say about their life, and where the
        # routers are.
        self.router_token_life = 3600.0
        self.router_tokens: set[str] = set()
        self.router_url = ""
        # Files of sandboxes and snapshots.
        self.files = tempfile.TemporaryDirectory(prefix="foreign-")
        self.place = Path(self.files.name)
        self.snapshots: dict[str, Path] = {}
        self.snapshot_ids: dict[str, str] = {}

    def new_id(self, prefix: str, length: int = 22) -> str:
        number, digits = next(self.numbers), []
        for _ in range(length):
            number, digit = divmod(number, len(_LETTERS))
            digits.append(_LETTERS[digit])
        return prefix + "-" + "".join(reversed(digits))

    def new_token(self, life: float) -> str:
        def part(value: dict[str, Any]) -> str:
            return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        now = time.time()
        claims = {"exp": int(now + life), "jti": next(self.numbers)}
        token = ".".join([part({"alg": "none"}), part(claims), "c2ln"])
        self.tokens[token] = now + life
        return token

    def accepts(self, token: str | None) -> bool:
        return self.tokens.get(token or "", 0.0) > time.time()

    def new_router_token(self) -> str:
        token = self.new_token(self.router_token_life)
        self.router_tokens.add(token)
        return token

    def revoke(self) -> None:
        """No token of a router that was handed out is accepted any more."""
        for token in self.router_tokens:
            self.tokens.pop(token, None)

    def end(self) -> None:
        """Ends what runs, and removes what is left of it."""
        for sandbox in self.sandboxes.values():
            sandbox.terminate()
            for command in sandbox.commands.values():
                command.kill()
        self.files.cleanup()

    def script_for(self, name: str) -> Script:
        """The script of a step: for its own name, else for what stands before the
        first dash in it, else the one for all others."""
        step = name.rpartition(".")[0]
        for key in (step, step.partition("-")[0], "*"):
            if key in self.scripts:
                return self.scripts[key]
        return Script()

    def create(self, definition: pb.Sandbox, app_id: str, tags: Any, v2: bool) -> Sandbox:
        script = self.script_for(definition.name)
        sandbox = Sandbox(
            # 22 letters and digits mark the older backend, any other length
            # the newer one, whose tasks end in V.
            id=self.new_id("sb", 26 if v2 else 22),
            task_id=self.new_id("ta") + ("V" if v2 else ""),
            app_id=app_id,
            name=definition.name,
            tags={tag.tag_name: tag.tag_value for tag in tags},
            token=self.new_id("proof") if v2 else "",
            script=script,
            created_at=time.time(),
            directory=self.place,
        )
        sandbox.directory = self.place / sandbox.id
        sandbox.directory.mkdir()
        if definition.image_id in self.snapshots:
            keep(self.snapshots[definition.image_id], sandbox.directory)
        self.sandboxes[sandbox.id] = sandbox
        self.tasks[sandbox.task_id] = sandbox
        self.names[app_id, sandbox.name] = sandbox
        result = pb.GenericResult(
            status=script.status, exitcode=script.exit_code, exception=script.exception
        )
        loop = asyncio.get_running_loop()
        sandbox.timer = loop.call_later(script.duration, sandbox.end, result)
        return sandbox

    def name_is_taken(self, app_id: str, name: str) -> bool:
        last = self.names.get((app_id, name))
        return bool(name) and last is not None and last.result is None
