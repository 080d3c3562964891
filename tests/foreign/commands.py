"""Commands in sandboxes: processes of this machine whose outputs are kept byte for
byte, and the tool for files, which every sandbox has."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from grpclib.const import Status
from grpclib.exceptions import GRPCError

TOOL = "/__modal/.bin/modal-sandbox-fs-tools"

# Bytes of one message of an output.
PIECE = 64 * 1024


class Output:
    """One output of a command, from its beginning."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_over = False
        self.news = asyncio.Event()

    def push(self, data: bytes) -> None:
        self.data += data
        self._tell()

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def read(self, offset: int) -> AsyncIterator[bytes]:
        while True:
            while piece := bytes(self.data[offset : offset + PIECE]):
                offset += len(piece)
                yield piece
            if self.is_over:
                return
            await self.news.wait()


class Input:
    """What a command reads. Bytes that come twice are taken once."""

    def __init__(self) -> None:
        self.taken = 0
        self.is_closed = False
        # Streams that began before the last look at how much was taken are over.
        self.generation = 0

    async def write(self, offset: int, data: bytes, is_last: bool) -> None:
        if self.is_closed:
            raise GRPCError(Status.FAILED_PRECONDITION, "The command takes no more input")
        if offset > self.taken:
            raise GRPCError(Status.INVALID_ARGUMENT, f"Byte {self.taken} has to come first")
        fresh = data[self.taken - offset :]
        self.taken += len(fresh)
        await self.take(fresh)
        if is_last:
            self.is_closed = True
            await self.close()

    async def take(self, data: bytes) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class Command:
    """A command that was started."""

    def __init__(self, input: Input) -> None:
        self.stdout, self.stderr = Output(), Output()
        self.input = input
        self.ended = asyncio.Event()
        self.code: int | None = None
        self.signal: int | None = None

    def end(self, returncode: int) -> None:
        if returncode < 0:
            self.signal = -returncode
        else:
            self.code = returncode
        self.input.is_closed = True
        self.stdout.end()
        self.stderr.end()
        self.ended.set()

    def exit_status(self) -> dict[str, int]:
        if self.signal is not None:
            return {"signal": self.signal}
        return {} if self.code is None else {"code": self.code}

    def kill(self) -> None:
        pass


class PipedInput(Input):
    process: asyncio.subprocess.Process

    async def take(self, data: bytes) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        try:
            pipe.write(data)
            await pipe.drain()
        except ConnectionError:
            self.is_closed = True
            message = "The command takes no more input"
            raise GRPCError(Status.FAILED_PRECONDITION, message) from None

    async def close(self) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        pipe.close()


class Process(Command):
    """A process of this machine."""

    input: PipedInput

    @classmethod
    async def start(cls, request: Any, directory: Path) -> "Process":
        environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(directory)}
        environment |= dict(request.env)
        for source in request.secret_sources:
            environment |= dict(source.env.contents)
        self = cls(PipedInput())
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *request.command_args,
                cwd=request.workdir if request.HasField("workdir") else directory,
                env=environment,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except (OSError, TypeError) as error:
            raise GRPCError(Status.INVALID_ARGUMENT, f"The command cannot start: {error}") from None
        self.process = self.input.process = process
        self.task = asyncio.ensure_future(self.follow())
        return self

    async def follow(self) -> None:
        async def copy(reader: asyncio.StreamReader | None, output: Output) -> None:
            assert reader is not None
            while data := await reader.read(PIECE):
                output.push(data)

        await asyncio.gather(
            copy(self.process.stdout, self.stdout), copy(self.process.stderr, self.stderr)
        )
        self.end(await self.process.wait())

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class FileInput(Input):
    """The contents of a file. They take its place when all of them are there."""

    def __init__(self, tool: "Tool", path: Path) -> None:
        super().__init__()
        self.tool = tool
        self.path = path
        self.data = bytearray()

    async def take(self, data: bytes) -> None:
        self.data += data

    async def close(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.data)
        self.tool.end(0)


class NoInput(Input):
    async def take(self, data: bytes) -> None:
        pass

    async def close(self) -> None:
        pass


class Tool(Command):
    """The tool for files. Paths are below the sandbox's directory."""

    def __init__(self, order: str, root: Path) -> None:
        [(operation, told)] = json.loads(order).items()
        path = root / told["path"].lstrip("/")
        super().__init__(NoInput())
        if path.is_dir():
            self.fail("IsDirectory", f"{told['path']} is a directory")
        elif operation == "WriteFile":
            self.input = FileInput(self, path)
        elif operation != "ReadFile":
            self.fail("NotSupported", f"{operation} is not done here")
        elif not path.exists():
            self.fail("NotFound", f"there is no {told['path']}")
        else:
            self.stdout.push(path.read_bytes())
            self.end(0)

    def fail(self, kind: str, message: str) -> None:
        told = {"error_kind": kind, "message": message}
        self.stderr.push(json.dumps(told).encode())
        self.end(1)


async def start(request: Any, directory: Path) -> Command:
    if list(request.command_args[:1]) == [TOOL]:
        return Tool(request.command_args[1], directory)
    return await Process.start(request, directory)


def keep(directory: Path, place: Path) -> None:
    """Keeps files as they are now."""
    shutil.copytree(directory, place, symlinks=True, dirs_exist_ok=True)


