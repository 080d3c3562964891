"""Connections that break in the middle: the SDK goes on where it was, and the
server lets it."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import modal
from checks import check
from support import ENVIRONMENT, IMAGE, MEBI, connect, digest, directory, noise, output, unique


class Proxy:
    """Hands bytes through to the server, and breaks connections on request."""

    def __init__(self) -> None:
        self.server = urlsplit(ENVIRONMENT["MODAL_SERVER_URL"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.open: list[socket.socket] = []
        # Bytes in one direction after which everything breaks, once.
        self.left: dict[str, int] = {}
        self.breaks = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def break_after(self, direction: str, size: int) -> None:
        """Breaks all connections once so much went `up` or `down`."""
        with self.lock:
            self.left[direction] = size

    def break_now(self) -> None:
        """Breaks all connections."""
        with self.lock:
            self._break()

    def close(self) -> None:
        self.listener.close()
        self.break_now()

    def _break(self) -> None:
        self.breaks += 1
        for end in self.open:
            shut(end)
        self.open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection((self.server.hostname, self.server.port))
            with self.lock:
                self.open += [client, server]
            for direction, source, sink in (("up", client, server), ("down", server, client)):
                parts = (direction, source, sink)
                threading.Thread(target=self._pump, args=parts, daemon=True).start()

    def _pump(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
                self._count(direction, len(data))
        except OSError:
            pass
        finally:
            # Not closed: the other direction may be waiting for it.
            for end in (source, sink):
                shut(end)

    def _count(self, direction: str, size: int) -> None:
        with self.lock:
            if direction in self.left:
                self.left[direction] -= size
                if self.left[direction] <= 0:
                    del self.left[direction]
                    self._break()


def shut(end: socket.socket) -> None:
    """Ends a connection in both directions, unless it has ended."""
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def through_proxy(*command: str, **options) -> Iterator[tuple[Proxy, modal.Sandbox]]:
    """A sandbox whose client, router calls too, goes through a proxy."""
    proxy = Proxy()
    client = connect(proxy.url, ENVIRONMENT["MODAL_TOKEN_SECRET"])
    app = modal.App.lookup(unique("app"), create_if_missing=True, client=client)
    box = modal.Sandbox.create(
        *command or ("sleep", "600"),
        app=app,
        image=modal.Image.from_registry(IMAGE),
        client=client,
        **options,
    )
    try:
        yield proxy, box
    finally:
        box.terminate()
        proxy.close()


@check(54)
def an_upload_goes_on():
    data = noise(5 * MEBI, seed=6)
    with tempfile.TemporaryDirectory() as local, through_proxy() as (proxy, box):
        remote = directory(box) + "/file"
        source = Path(local, "file")
        source.write_bytes(data)
        proxy.break_after("up", 2 * MEBI)
        box.filesystem.copy_from_local(source, remote)
        assert proxy.breaks == 1
        assert output(box, "sha256sum", remote).split()[0] == digest(data)


@check(49)
def a_download_goes_on():
    data = noise(5 * MEBI, seed=7)
    with through_proxy() as (proxy, box):
        remote = directory(box) + "/file"
        box.filesystem.write_bytes(data, remote)
        proxy.break_after("down", 2 * MEBI)
        assert box.filesystem.read_bytes(remote) == data
        assert proxy.breaks == 1


@check(49)
def output_of_a_command_goes_on():
    lines = "".join(f"line {number}\n" for number in range(300_000))
    with through_proxy() as (proxy, box):
        program = 'BEGIN { while (n < 300000) print "line " n++ }'
        process = box.exec("awk", program)
        proxy.break_after("down", MEBI)
        assert process.stdout.read() == lines
        assert proxy.breaks == 1
        assert process.wait() == 0


@check(48)
def waiting_for_a_command_goes_on():
    with through_proxy() as (proxy, box):
        process = box.exec("sh", "-c", "echo started; read line; exit 5")
        assert next(iter(process.stdout)) == "started\n"
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(process.wait)
            proxy.break_now()
            process.stdin.write("go\n")
            process.stdin.drain()
            assert waiting.result(timeout=60) == 5


@check(49, 61)
def output_of_a_sandbox_goes_on():
    lines = "".join(f"line {number}\n" for number in range(300_000))
    program = 'BEGIN { while (n < 300000) print "line " n++ }'
    for options in ({}, {"gpu": "T4"}):
        with through_proxy("awk", program, **options) as (proxy, box):
            proxy.break_after("down", MEBI)
            assert box.stdout.read() == lines
            assert proxy.breaks == 1


@check()
def waiting_for_a_sandbox_goes_on():
    with through_proxy("sh", "-c", "read line; exit 6") as (proxy, box):
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(box.wait)
            proxy.break_now()
            box.stdin.write("go\n")
            box.stdin.drain()
            waiting.result(timeout=60)
        assert box.returncode == 6
