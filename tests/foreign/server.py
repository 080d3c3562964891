"""A Modal server that nobody of this project wrote the protocol of: Modal's own
published stubs (package modal, 1.6.4) over grpclib, scripted sandboxes, faults
on demand, and a record of every request.

    python server.py

prints one line of JSON with the port it listens on (loopback only). Then every
line of JSON on standard input is a command, answered by one line of JSON; see
`Control` for them. It ends when standard input does.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
import sys
import time
from collections import Counter
from typing import Any

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import MessageToDict
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import StatusDetailsCodecBase
from grpclib.encoding.proto import ProtoCodec
from grpclib.events import _DispatchServerEvents
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Handler as StreamHandler
from grpclib.server import Stream
from h2.config import H2Configuration
from modal_proto import api_pb2 as pb
from modal_proto.api_grpc import ModalClientBase
from modal_proto.task_command_router_grpc import TaskCommandRouterBase

from faults import Fault, Faults
from services import IDEMPOTENT, WANT_AUTH_TOKEN, CommandRouter, ControlPlane
from world import Script, World

TOKEN_ID, TOKEN_SECRET = "ak-foreign", "as-foreign"


class StatusDetails(StatusDetailsCodecBase):
    """Details as Modal sends them: its own message for a status, in which a
    server-directed wait travels."""

    def encode(self, status: Status, message: str | None, details: Any) -> bytes:
        policy = AnyMessage()
        policy.Pack(pb.RPCRetryPolicy(retry_after_secs=details), type_url_prefix="type.modal.com/")
        return pb.RPCStatus(
            code=status.value, message=message or "", details=[policy]
        ).SerializeToString()

    def decode(self, status: Status, message: str | None, data: bytes) -> Any:
        raise NotImplementedError("a server only sends them")


class Headers(StreamHandler):
    """Keeps the headers of a request as they came, for the record."""

    def accept(self, stream: Any, headers: Any, release_stream: Any) -> None:
        stream.headers_as_sent = headers
        super().accept(stream, headers, release_stream)


class Foreign:
    """The server."""

    def __init__(self) -> None:
        self.world = World()
        self.faults = Faults()
        self.started = time.monotonic()
        self.records: list[dict[str, Any]] = []
        self.records_bodies = True
        self.counts: Counter[str] = Counter()
        self.failures = 0
        self.in_flight: Counter[str] = Counter()
        self.peaks: Counter[str] = Counter()
        self.control_plane = Place(self)
        self.router = Place(self)

    async def listen(self) -> None:
        """Listens; after having been away, where it did before."""
        await self.control_plane.listen()
        await self.router.listen()
        self.world.router_url = self.router.url

    def go_away(self) -> None:
        """Breaks all connections and takes no new ones. The ports stay ours."""
        self.control_plane.go_away()
        self.router.go_away()

    async def restart_router(self, moves: bool) -> None:
        """Breaks all connections to the router; afterwards it is there again, or
        elsewhere."""
        self.router.go_away()
        if moves:
            self.router.release()
            self.router = Place(self)
        await self.router.listen()
        self.world.router_url = self.router.url

    def protocol(self, place: "Place") -> H2Protocol:
        foreign = self

        class Connection(H2Protocol):
            def connection_made(self, transport: Any) -> None:
                place.transports.add(transport)
                self.transport = transport
                super().connection_made(transport)
                # An answer to a ping: all that was sent before has been read.
                self.connection.has_read = asyncio.Event()
                self.connection.ping_ack_process = self.connection.has_read.set

            def connection_lost(self, error: BaseException | None) -> None:
                place.transports.discard(self.transport)
                super().connection_lost(error)

        handler = Headers(self.mapping(), ProtoCodec(), StatusDetails(), _DispatchServerEvents())
        http2 = H2Configuration(client_side=False, header_encoding="ascii")
        return Connection(handler, Configuration().__for_server__(), http2)

    def mapping(self) -> dict[str, Handler]:
        """All operations of both services, by path. Those that are not served
        are recorded and refused."""
        mapping = {}
        for base, service in (
            (ModalClientBase, ControlPlane(self.world)),
            (TaskCommandRouterBase, CommandRouter(self.world)),
        ):
            stub = type("Stub", (base,), {name: None for name in base.__abstractmethods__})()
            for path, handler in stub.__mapping__().items():
                rpc = path.rpartition("/")[2]
                call = Call(self, rpc, getattr(service, rpc, None), handler.cardinality)
                mapping[path] = handler._replace(func=call)
        return mapping


class Place:
    """A port that the server listens on, and the connections to it."""

    def __init__(self, foreign: Foreign) -> None:
        self.foreign = foreign
        self.transports: set[asyncio.Transport] = set()
        self.port = 0
        self.listener: asyncio.Server | None = None
        self.placeholder: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def listen(self) -> None:
        bound = self.placeholder or self._bind()
        self.placeholder = None
        self.port = bound.getsockname()[1]
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(lambda: self.foreign.protocol(self), sock=bound)

    def go_away(self) -> None:
        """Breaks all connections and takes no new ones. The port stays ours."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
            self.placeholder = self._bind()
        for transport in list(self.transports):
            reset(transport)

    def release(self) -> None:
        """Gives up the port of a place that is away."""
        if self.placeholder is not None:
            self.placeholder.close()
            self.placeholder = None

    def _bind(self) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", self.port))
        return bound


class Call:
    """One operation: records what comes, applies faults, answers."""

    def __init__(self, foreign: Foreign, rpc: str, method: Any, cardinality: Cardinality) -> None:
        self.foreign = foreign
        self.rpc = rpc
        self.method = method
        self.streams = cardinality is Cardinality.UNARY_STREAM
        self.takes_stream = cardinality is Cardinality.STREAM_UNARY

    async def __call__(self, stream: Stream) -> None:
        foreign, rpc = self.foreign, self.rpc
        foreign.in_flight[rpc] += 1
        foreign.peaks[rpc] = max(foreign.peaks[rpc], foreign.in_flight[rpc])
        try:
            request = await stream.recv_message()
            if request is not None:
                await self.answer(stream, request)
        finally:
            foreign.in_flight[rpc] -= 1

    async def answer(self, stream: Stream, request: Any) -> None:
        headers = list(stream._stream.headers_as_sent)
        sandbox = self.sandbox_name(request)
        fault = self.foreign.faults.next(self.rpc, sandbox)
        record = self.record(request, headers, sandbox, fault)
        if fault is not None:
            self.foreign.failures += 1
            carries_on = await self.fail(fault, stream, request, dict(headers))
            if not carries_on:
                return
        if self.method is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"{self.rpc} is not served here")
        if self.streams:
            self.check(dict(headers))
            if fault is not None and fault.kind == "cut":
                await self.cut_answer(stream, request, fault.after)
                return
            async for message in self.method(request):
                await stream.send_message(message)
                if fault is not None and fault.kind == "reset":
                    await reset_once_read(stream)
            return
        if self.takes_stream:
            message = await self.take(stream, request, record, fault, dict(headers))
        elif fault is not None and fault.kind == "cut":
            # A part of the data is taken, and nobody hears of it.
            self.check(dict(headers))
            request.data, request.eof = request.data[: fault.after], False
            await self.method(request)
            reset(stream._stream._transport)
            return
        else:
            message = await self.perform(request, dict(headers))
        if message is None:
            return
        if self.rpc == "SecretGetOrCreate":
            record["answer"] = MessageToDict(message, preserving_proto_field_name=True)
        if fault is not None and fault.kind == "reset" and fault.when == "during":
            await self.send_half(stream, message)
            return
        await stream.send_message(message)
        if fault is not None and fault.kind == "reset":
            await stream.send_trailing_metadata()
            await reset_once_read(stream)

    async def perform(self, request: Any, headers: dict[str, str]) -> Any:
        """Does what is asked for; the same once only under one key."""
        self.check(headers)
        key = (self.rpc, headers.get("x-idempotency-key", ""))
        world = self.foreign.world
        if key in world.answers and not world.forgets_keys:
            return world.answers[key]
        answer = await self.method(request)
        if self.rpc in IDEMPOTENT and key[1]:
            world.answers[key] = answer
        return answer

    async def fail(
        self, fault: Fault, stream: Stream, request: Any, headers: dict[str, str]
    ) -> bool:
        """Whether the call is carried out and answered nevertheless."""
        if fault.kind == "silence":
            await asyncio.Event().wait()
        if fault.kind == "delay":
            await asyncio.sleep(fault.seconds)
            return True
        if fault.kind == "cut":
            return True
        if fault.performed or fault.when == "unanswered":
            # An output has no effect that could outlive a lost answer.
            if not self.streams and not self.takes_stream and self.method is not None:
                await self.perform(request, headers)
        if fault.kind == "status":
            raise GRPCError(Status[fault.code], fault.message, fault.retry_after)
        if fault.kind == "stream":
            await stream.cancel()
            return False
        if fault.when in ("before", "unanswered"):
            reset(stream._stream._transport)
            return False
        return True

    async def cut_answer(self, stream: Stream, request: Any, after: int) -> None:
        """Answers so many bytes of a stream, and breaks the connection."""
        await stream.send_initial_metadata()
        async for message in self.method(request):
            data = message.SerializeToString()
            frame = (struct.pack("!?I", False, len(data)) + data)[:after]
            after -= len(frame)
            if frame:
                await stream._stream.send_data(frame)
            if not after:
                break
        await reset_once_read(stream)

    async def take(
        self,
        stream: Stream,
        first: Any,
        record: dict[str, Any],
        fault: Fault | None,
        headers: dict[str, str],
    ) -> Any:
        """Takes a stream of requests; nothing when it broke on the way."""
        self.check(headers)
        record["pieces"] = pieces = []
        after = fault.after if fault is not None and fault.kind == "cut" else None
        is_cut = False

        async def requests() -> Any:
            nonlocal after, is_cut
            yield first
            async for request in stream:
                kind = request.WhichOneof("payload")
                pieces.append(len(request.data) if kind == "data" else kind)
                if after is not None and kind == "data":
                    request.data = request.data[:after]
                    after -= len(request.data)
                yield request
                if after == 0:
                    is_cut = True
                    return

        answer = await self.method(requests())
        if is_cut:
            reset(stream._stream._transport)
            return None
        return answer

    async def send_half(self, stream: Stream, message: Any) -> None:
        data = message.SerializeToString()
        await stream.send_initial_metadata()
        half = struct.pack("!?I", False, len(data)) + data[: len(data) // 2]
        await stream._stream.send_data(half)
        await reset_once_read(stream)

    def check(self, headers: dict[str, str]) -> None:
        """Whether the caller is who it has to be."""
        if isinstance(getattr(self.method, "__self__", None), CommandRouter):
            scheme, _, token = headers.get("authorization", "").partition(" ")
            if scheme != "Bearer" or not self.foreign.world.accepts(token):
                raise GRPCError(Status.UNAUTHENTICATED, "No access to this task")
            return
        if headers.get("x-modal-client-version") is None or not headers.get("x-modal-client-type"):
            raise GRPCError(Status.FAILED_PRECONDITION, "The client does not say what it is")
        pair = (headers.get("x-modal-token-id"), headers.get("x-modal-token-secret"))
        if pair != (TOKEN_ID, TOKEN_SECRET):
            raise GRPCError(Status.UNAUTHENTICATED, "Token missing or unknown")
        if self.rpc in WANT_AUTH_TOKEN:
            if not self.foreign.world.accepts(headers.get("x-modal-auth-token")):
                raise GRPCError(Status.UNAUTHENTICATED, "The short-lived token is missing or over")

    def sandbox_name(self, request: Any) -> str:
        """The sandbox that a request is about, if it is about one."""
        world = self.foreign.world
        if hasattr(request, "definition"):
            return request.definition.name
        sandbox = world.sandboxes.get(getattr(request, "sandbox_id", ""))
        task_id = getattr(request, "task_id", "")
        if self.takes_stream:
            task_id = request.start.task_id
        sandbox = sandbox or world.tasks.get(task_id)
        return sandbox.name if sandbox is not None else ""

    def record(
        self, request: Any, headers: list[tuple[str, str]], sandbox: str, fault: Fault | None
    ) -> dict[str, Any]:
        foreign = self.foreign
        foreign.counts[self.rpc] += 1
        record: dict[str, Any] = {}
        if foreign.records_bodies:
            record = {
                "rpc": self.rpc,
                "at": time.monotonic() - foreign.started,
                "sandbox": sandbox,
                "fault": fault and fault.kind,
                "message": MessageToDict(request, preserving_proto_field_name=True),
                "headers": dict(headers),
            }
            foreign.records.append(record)
        return record


async def reset_once_read(stream: Stream) -> None:
    """Breaks a connection once the other side has read what was sent."""
    connection = stream._stream.connection
    connection.has_read.clear()
    connection._connection.ping(b"has_read")
    connection.flush()
    await connection.has_read.wait()
    reset(stream._stream._transport)


def reset(transport: Any) -> None:
    """Breaks a connection: the other side gets a reset, not an end."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class Control:
    """The commands: objects with the name of one of these methods as `op`."""

    def __init__(self, foreign: Foreign) -> None:
        self.foreign = foreign

    def script(self, sandbox: str, **script: Any) -> None:
        """How sandboxes of a step behave, see `World.script_for`."""
        self.foreign.world.scripts[sandbox] = Script(**script)

    def fault(self, **rule: Any) -> None:
        """Adds a fault, see `faults.Rule` and `faults.Fault`."""
        self.foreign.faults.add(rule)

    def at_random(self, rate: float, seed: int) -> None:
        """From now on this share of all calls fails."""
        self.foreign.faults.at_random(rate, seed)

    def no_faults(self) -> None:
        self.foreign.faults.rules.clear()
        self.foreign.faults.at_random(0.0, 0)

    def away(self, seconds: float) -> None:
        """Nobody is there for a while."""
        loop = asyncio.get_running_loop()
        self.foreign.go_away()
        loop.call_later(seconds, lambda: loop.create_task(self.foreign.listen()))

    def settings(self, **settings: Any) -> None:
        """`token_life`: of short-lived tokens, in seconds. `forgets_keys`:
        whether repetitions are carried out again. `image_build`: seconds that
        it takes. `router_token_life`: what tokens of routers say about their life, in
        seconds. `page`: sandboxes in one page of a listing. `records_bodies`: whether requests are kept or only counted."""
        for name, value in settings.items():
            owner = self.foreign if name == "records_bodies" else self.foreign.world
            if not hasattr(owner, name):
                raise ValueError(f"there is no setting {name}")
            setattr(owner, name, value)

    def requests(self) -> list[dict[str, Any]]:
        """All requests since this was last asked."""
        records, self.foreign.records = self.foreign.records, []
        return records

    def restart_router(self, moves: bool) -> None:
        """The router is started again: where it was, or elsewhere."""
        asyncio.ensure_future(self.foreign.restart_router(moves))

    def revoke(self) -> None:
        """Tokens of routers that were handed out are not accepted any more."""
        self.foreign.world.revoke()

    def file(self, sandbox: str, path: str) -> str:
        """The contents of a file in a sandbox, as hexadecimal digits."""
        directory = self.foreign.world.sandboxes[sandbox].directory
        return (directory / path.lstrip("/")).read_bytes().hex()

    def counts(self) -> dict[str, int]:
        """How many requests there were, by method."""
        return dict(self.foreign.counts)

    def failures(self) -> int:
        """How many requests met a fault."""
        return self.foreign.failures

    def peaks(self) -> dict[str, int]:
        """How many of a method were under way at most at one time."""
        return dict(self.foreign.peaks)

    def sandboxes(self) -> list[dict[str, Any]]:
        return [sandbox.told() for sandbox in self.foreign.world.sandboxes.values()]


def is_noteworthy(record: logging.LogRecord) -> bool:
    """Whether a line of the log is about anything but connections that break,
    which they are made to."""
    return record.getMessage() not in (
        "Failed to handle cancellation",
        "socket.send() raised exception.",
    )


async def main() -> None:
    for name in ("grpclib.server", "asyncio"):
        logging.getLogger(name).addFilter(is_noteworthy)
    foreign = Foreign()
    await foreign.listen()
    control = Control(foreign)
    print(json.dumps({"port": foreign.control_plane.port}), flush=True)
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    while line := await commands.readline():
        command = json.loads(line)
        operation = command.pop("op")
        try:
            answer = {"ok": getattr(control, operation)(**command)}
        except Exception as error:
            answer = {"error": f"{operation}: {error!r}"}
        print(json.dumps(answer), flush=True)
    foreign.world.end()


if __name__ == "__main__":
    asyncio.run(main())
