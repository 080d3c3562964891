"""What checks have in common."""

import hashlib
import os
import random
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import modal
from modal.exception import Error

IMAGE = "python:3.11-slim"

# How long something may take that is waited for. Nothing takes a tenth of it on
# an idle machine.
BOUND = 60.0

MEBI = 1024 * 1024

# As it was at the start: `connect` changes it for moments.
ENVIRONMENT = dict(os.environ)


@cache
def app() -> modal.App:
    """The app of all sandboxes whose app does not matter."""
    return modal.App.lookup("suite", create_if_missing=True)


@cache
def image() -> modal.Image:
    """One for all: what is built once is not asked for again."""
    return modal.Image.from_registry(IMAGE)


def fresh_app(**options: Any) -> modal.App:
    """An app without any sandboxes."""
    return modal.App.lookup(unique("app"), create_if_missing=True, **options)


def unique(prefix: str) -> str:
    """A name that nobody else uses."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@contextmanager
def sandbox(*command: str, **options: Any) -> Iterator[modal.Sandbox]:
    """A sandbox that ends with the block; it sleeps unless a command is given."""
    options = {"app": app, "image": image, **options}
    options = {key: value() if value in (app, image) else value for key, value in options.items()}
    created = modal.Sandbox.create(*command or ("sleep", "600"), **options)
    try:
        yield created
    finally:
        created.terminate()


@contextmanager
def sandbox_of(backend: int, *command: str, **options: Any) -> Iterator[modal.Sandbox]:
    """The same on one of the two backends: what asks for a GPU is on the older."""
    gpu = {"gpu": "T4"} if backend == 1 else {}
    with sandbox(*command, **gpu, **options) as created:
        assert is_v1(created.object_id) == (backend == 1), created.object_id
        yield created


def is_v1(sandbox_id: str) -> bool:
    """Whether an id is one of the older backend."""
    return re.fullmatch(r"sb-[0-9A-Za-z]{22}", sandbox_id) is not None


def fails(
    expected: type[BaseException] | tuple[type[BaseException], ...], action: Callable[[], Any]
) -> str:
    """The text of the error that an action must end with."""
    try:
        result = action()
    except expected as error:
        return str(error)
    except Error as error:
        raise AssertionError(f"not {expected}: {type(error).__name__}: {error}") from error
    raise AssertionError(f"no {expected}, but {result!r}")


def eventually(what: str, condition: Callable[[], Any]) -> Any:
    """Waits for a condition, and gives what it gave."""
    give_up_at = time.monotonic() + BOUND
    while not (result := condition()):
        assert time.monotonic() < give_up_at, f"not in time: {what}"
        time.sleep(0.05)
    return result


def output(box: modal.Sandbox, *command: str, **options: Any) -> str:
    """What a command writes; it must succeed."""
    process = box.exec(*command, **options)
    text = process.stdout.read()
    code = process.wait()
    assert code == 0, (command, code, process.stderr.read())
    return text


def directory(box: modal.Sandbox) -> str:
    """The sandbox's directory."""
    return output(box, "pwd").strip()


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that are not text."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    """As `sha256sum` writes it."""
    return hashlib.sha256(data).hexdigest()


def in_another_process(source: str, **variables: str) -> str:
    """Runs a program with other variables: the SDK reads its settings once."""
    done = subprocess.run(
        [sys.executable, "-B", "-c", source],
        env={**ENVIRONMENT, **variables},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def client_of(variable: str, token_secret: str | None = None) -> modal.Client:
    """A client of the server whose URL is in a variable."""
    return connect(ENVIRONMENT[variable], token_secret or ENVIRONMENT["MODAL_TOKEN_SECRET"])


@cache
def connect(url: str, token_secret: str) -> modal.Client:
    """A client of its own; the SDK takes the server from the environment."""
    with _CONNECTING:
        os.environ["MODAL_SERVER_URL"] = url
        try:
            return modal.Client.from_credentials(ENVIRONMENT["MODAL_TOKEN_ID"], token_secret)
        finally:
            os.environ["MODAL_SERVER_URL"] = ENVIRONMENT["MODAL_SERVER_URL"]


_CONNECTING = threading.Lock()

# The client that is used when none is given: made before any other.
modal.Client.from_env()
