"""Files of a sandbox."""

import os
import stat as modes
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from checks import check
from modal.exception import (
    InvalidError,
    NotFoundError,
    SandboxFilesystemDirectoryNotEmptyError,
    SandboxFilesystemError,
    SandboxFilesystemIsADirectoryError,
    SandboxFilesystemNotADirectoryError,
    SandboxFilesystemNotFoundError,
    SandboxFilesystemPathAlreadyExistsError,
    SandboxFilesystemPermissionError,
)
from modal.types import FileWatchEvent, FileWatchEventType
from support import MEBI, digest, directory, fails, noise, output, sandbox, sandbox_of


@check(53)
def text():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            path = directory(box) + "/text"
            box.filesystem.write_text("grün €\n", path)
            assert box.filesystem.read_text(path) == "grün €\n"
            assert output(box, "cat", path) == "grün €\n"


@check(53)
def five_megabytes_of_bytes():
    data = noise(5 * MEBI)
    with sandbox() as box:
        path = directory(box) + "/data"
        box.filesystem.write_bytes(data, path)
        assert output(box, "sha256sum", path).split()[0] == digest(data)
        assert box.filesystem.read_bytes(path) == data


@check(53)
def five_megabytes_up_and_down():
    data = noise(5 * MEBI, seed=3)
    with tempfile.TemporaryDirectory() as local, sandbox() as box:
        remote = directory(box) + "/new/directories/file"
        up, down = Path(local, "up"), Path(local, "also/new/down")
        up.write_bytes(data)
        box.filesystem.copy_from_local(up, remote)
        assert output(box, "sha256sum", remote).split()[0] == digest(data)
        box.filesystem.copy_to_local(remote, down)
        assert down.read_bytes() == data


@check(53)
def empty_files():
    with sandbox() as box:
        path = directory(box) + "/empty"
        box.filesystem.write_bytes(b"", path)
        assert box.filesystem.read_bytes(path) == b""
        assert box.filesystem.stat(path).size == 0


@check()
def writing_replaces():
    with sandbox() as box:
        path = directory(box) + "/file"
        for content in ("something long", "short"):
            box.filesystem.write_text(content, path)
        assert box.filesystem.read_text(path) == "short"


@check(55)
def reading_what_is_not_there():
    with tempfile.TemporaryDirectory() as local, sandbox() as box:
        remote, down = directory(box) + "/nothing", Path(local, "down")
        fails(SandboxFilesystemNotFoundError, lambda: box.filesystem.read_text(remote))
        fails(SandboxFilesystemNotFoundError, lambda: box.filesystem.copy_to_local(remote, down))
        assert os.listdir(local) == []


@check(55)
def a_directory_is_no_file():
    with sandbox() as box:
        ours = directory(box)
        fails(SandboxFilesystemIsADirectoryError, lambda: box.filesystem.read_bytes(ours))
        output(box, "mkdir", "inner")
        fails(
            SandboxFilesystemIsADirectoryError,
            lambda: box.filesystem.write_text("x", ours + "/inner"),
        )


@check(55)
def a_file_is_no_directory():
    with sandbox() as box:
        file = directory(box) + "/file"
        box.filesystem.write_text("x", file)
        below = file + "/below"
        fails(SandboxFilesystemNotADirectoryError, lambda: box.filesystem.write_text("x", below))
        fails(SandboxFilesystemNotADirectoryError, lambda: box.filesystem.list_files(file))


@check(55)
def outside_of_the_sandbox():
    with sandbox() as box:
        write = lambda: box.filesystem.write_text("x", "/usr/flavor-was-here")
        fails(SandboxFilesystemPermissionError, write)
        fails(SandboxFilesystemPermissionError, lambda: box.filesystem.read_text("/etc/passwd"))
        assert not os.path.exists("/usr/flavor-was-here")


@check(55)
def no_way_out_through_links():
    with sandbox() as box:
        ours = directory(box)
        output(box, "ln", "-s", "/etc", "link")
        fails(
            SandboxFilesystemPermissionError,
            lambda: box.filesystem.read_text(ours + "/link/passwd"),
        )
        fails(
            SandboxFilesystemPermissionError,
            lambda: box.filesystem.read_text(ours + "/../../../../../../../../etc/passwd"),
        )


@check(55)
def relative_paths():
    with sandbox() as box:
        for action in (box.filesystem.read_text, box.filesystem.list_files, box.filesystem.stat):
            fails(InvalidError, lambda: action("relative"))


@check()
def listing():
    with sandbox() as box:
        ours = directory(box) + "/listed"
        output(box, "sh", "-c", "mkdir -p listed/dir; printf 123 > listed/b; ln -s b listed/a")
        entries = box.filesystem.list_files(ours)
        assert [(entry.name, entry.path) for entry in entries] == [
            (name, f"{ours}/{name}") for name in ("a", "b", "dir")
        ]
        kinds = [str(getattr(entry.type, "value", entry.type)) for entry in entries]
        assert kinds == ["symlink", "file", "directory"], kinds
        assert entries[0].symlink_target == "b"
        assert entries[1].size == 3
        fails(SandboxFilesystemNotFoundError, lambda: box.filesystem.list_files(ours + "/none"))


@check()
def looking_at_one():
    with sandbox() as box:
        path = directory(box) + "/file"
        output(
            box,
            "sh",
            "-c",
            "printf 12345 > file; chmod 640 file; touch -d @1000000000 file; ln -s file link",
        )
        seen = box.filesystem.stat(path)
        assert (seen.name, seen.path, seen.size) == ("file", path, 5)
        assert modes.S_IMODE(seen.mode) == 0o640, oct(seen.mode)
        modified = seen.modified_time
        assert int(getattr(modified, "timestamp", lambda: modified)()) == 1_000_000_000, modified
        # Of the link itself.
        link = box.filesystem.stat(directory(box) + "/link")
        assert link.symlink_target == "file"
        fails(SandboxFilesystemNotFoundError, lambda: box.filesystem.stat(path + "-none"))


@check()
def making_directories():
    with sandbox() as box:
        ours = directory(box)
        make = box.filesystem.make_directory
        make(ours + "/a/b/c")
        make(ours + "/a/b/c")
        assert output(box, "find", "a", "-type", "d").split() == ["a", "a/b", "a/b/c"]
        fails(SandboxFilesystemNotFoundError, lambda: make(ours + "/x/y", create_parents=False))
        fails(
            SandboxFilesystemPathAlreadyExistsError, lambda: make(ours + "/a", create_parents=False)
        )
        make(ours + "/single", create_parents=False)


@check()
def removing():
    with sandbox() as box:
        ours = directory(box)
        output(
            box, "sh", "-c", "mkdir -p tree/inner empty; echo x > tree/inner/file; echo x > file"
        )
        box.filesystem.remove(ours + "/file")
        box.filesystem.remove(ours + "/empty")
        fails(
            SandboxFilesystemDirectoryNotEmptyError, lambda: box.filesystem.remove(ours + "/tree")
        )
        box.filesystem.remove(ours + "/tree", recursive=True)
        fails(SandboxFilesystemNotFoundError, lambda: box.filesystem.remove(ours + "/file"))
        left = output(box, "sh", "-c", "ls -d file empty tree 2>/dev/null || true")
        assert left == "", left


@check(56)
def after_the_end_of_the_sandbox():
    with sandbox() as box:
        path = directory(box) + "/file"
        box.terminate()
        import modal

        ended = modal.Sandbox.from_id(box.object_id)
        fails(
            (NotFoundError, SandboxFilesystemError, SandboxFilesystemNotFoundError),
            lambda: ended.filesystem.read_text(path),
        )


@check()
def names_of_all_kinds():
    with sandbox() as box:
        for name in ("with space", "quote'\"", "grün", "-dash", "new\nline"):
            path = f"{directory(box)}/{name}"
            box.filesystem.write_text(name, path)
            assert box.filesystem.read_text(path) == name


@check()
def watching():
    with sandbox() as box, ThreadPoolExecutor(1) as threads:
        ours = directory(box)
        created = FileWatchEventType.Create

        def first() -> FileWatchEvent:
            events = box.filesystem.watch(ours, filter=[created], timeout=60)
            return next(iter(events))

        waiting, names = threads.submit(first), []
        # Nobody says when the watch has begun.
        while not waiting.done():
            names.append(f"{ours}/file-{len(names)}")
            output(box, "touch", names[-1])
        event = waiting.result()
        assert event.type == created and event.paths[0] in names, event
        none = lambda: list(box.filesystem.watch(ours + "/none", timeout=1))
        fails(SandboxFilesystemNotFoundError, none)
        # Without events it ends with its time.
        assert list(box.filesystem.watch(ours, timeout=1)) == []
