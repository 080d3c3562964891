"""What a server remembers of the one before it."""

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import modal
from checks import check
from modal.exception import NotFoundError
from support import ENVIRONMENT, IMAGE, connect, fails, output, unique


@contextmanager
def server(state: str, ended_by: int) -> Iterator[modal.Client]:
    """A server of its own, on a state directory."""
    program = [ENVIRONMENT["SUITE_FLAVOR"], "modal-local", "--state", state]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = process.stdout.readline().split()[-1]
        yield connect(url, ENVIRONMENT["MODAL_TOKEN_SECRET"])
    finally:
        process.send_signal(ended_by)
        process.wait(60)


def create(client: modal.Client, *command: str, app: str, **options) -> modal.Sandbox:
    ours = modal.App.lookup(app, create_if_missing=True, client=client)
    options.setdefault("image", modal.Image.from_registry(IMAGE))
    return modal.Sandbox.create(*command, app=ours, client=client, **options)


def remembers_after(ended_by: int) -> None:
    app = unique("app")
    with tempfile.TemporaryDirectory() as state:
        with server(state, ended_by) as client:
            done = create(client, "sh", "-c", "echo said; exit 3", app=app, name="done")
            done.wait()
            running = create(client, "sleep", "600", app=app, name="running")
            running.set_tags({"kept": "yes"})
            output(running, "sh", "-c", "echo content > file")
            snapshot = running.snapshot_filesystem().object_id
            app_id = modal.App.lookup(app, client=client).app_id
        with server(state, signal.SIGINT) as client:
            assert modal.App.lookup(app, client=client).app_id == app_id
            again = modal.Sandbox.from_id(done.object_id, client=client)
            assert again.poll() == 3
            assert again.stdout.read() == "said\n"
            ended = modal.Sandbox.from_id(running.object_id, client=client)
            assert ended.poll() == 137
            assert ended.get_tags() == {"kept": "yes"}
            fails(NotFoundError, lambda: modal.Sandbox.from_name(app, "running", client=client))
            image = modal.Image.from_id(snapshot, client=client)
            restored = create(client, "cat", "file", app=app, name="running", image=image)
            assert restored.stdout.read() == "content\n"
            restored.wait()


@check()
def after_an_orderly_end():
    remembers_after(signal.SIGINT)


@check()
def after_a_kill():
    remembers_after(signal.SIGKILL)
