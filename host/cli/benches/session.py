"""What Modal's own client needs for what `session.rs` measures; prints one JSON object."""

import json
import os
import sys
import tempfile
import time

import modal

EXECS, CREATES, MEGABYTES = (int(argument) for argument in sys.argv[1:4])
SIZE = MEGABYTES * 1_000_000

app = modal.App.lookup("session-bench", create_if_missing=True)
image = modal.Image.from_registry("python:3.11-slim")
box = modal.Sandbox.create("sleep", "600", app=app, image=image)


def timed(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def execs():
    for _ in range(EXECS):
        assert box.exec("true").wait() == 0


def creates():
    for _ in range(CREATES):
        created = modal.Sandbox.create("true", app=app, image=image)
        created.wait()
        assert created.returncode == 0


def stdout():
    process = box.exec("head", "-c", str(SIZE), "/dev/zero", text=False)
    assert sum(len(piece) for piece in process.stdout) == SIZE
    assert process.wait() == 0


def upload():
    box.filesystem.copy_from_local(source.name, f"{home}/upload")


home = box.exec("pwd").stdout.read().strip()
assert box.exec("true").wait() == 0
with tempfile.NamedTemporaryFile() as source:
    source.write(os.urandom(1_000_000) * MEGABYTES)
    source.flush()
    figures = {
        "exec": timed(execs) / EXECS,
        "create": timed(creates) / CREATES,
        "stdout": timed(stdout),
        "upload": timed(upload),
    }
size = box.exec("stat", "-c", "%s", f"{home}/upload").stdout.read().strip()
assert size == str(SIZE), size
box.terminate()
print(json.dumps(figures))
