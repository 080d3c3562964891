"""What the command of a sandbox writes, and what it reads."""

import modal
from checks import check
from support import MEBI, digest, noise, sandbox, sandbox_of


@check(52, 59)
def both_streams():
    for backend in (1, 2):
        with sandbox_of(backend, "sh", "-c", "echo out; echo err >&2") as box:
            assert (box.stdout.read(), box.stderr.read()) == ("out\n", "err\n")


@check(52)
def nothing_written_is_nothing_read():
    for backend in (1, 2):
        with sandbox_of(backend, "true") as box:
            assert (box.stdout.read(), box.stderr.read()) == ("", "")


@check(52)
def after_the_end_from_the_start():
    for backend in (1, 2):
        with sandbox_of(backend, "sh", "-c", "echo first; echo second") as box:
            box.wait()
            for _ in range(2):
                again = modal.Sandbox.from_id(box.object_id)
                assert again.stdout.read() == "first\nsecond\n"


@check(62)
def a_second_read_is_empty():
    with sandbox("echo", "once") as box:
        assert box.stdout.read() == "once\n"
        assert box.stdout.read() == ""


@check()
def lines_come_as_they_are_written():
    for backend in (1, 2):
        command = ("sh", "-c", "echo one; read line; echo two")
        with sandbox_of(backend, *command) as box:
            lines = iter(box.stdout)
            # The second comes only after this.
            assert next(lines) == "one\n"
            box.stdin.write("go\n")
            box.stdin.drain()
            assert next(lines) == "two\n"
            assert list(lines) == []


@check()
def standard_input_of_the_command():
    for backend in (1, 2):
        with sandbox_of(backend, "cat") as box:
            box.stdin.write("a line\n")
            box.stdin.drain()
            box.stdin.write("another\n")
            box.stdin.write_eof()
            box.stdin.drain()
            box.wait()
            assert box.stdout.read() == "a line\nanother\n"


@check()
def much_standard_input_of_the_command():
    data = noise(MEBI)
    with sandbox("sha256sum") as box:
        box.stdin.write(data)
        box.stdin.write_eof()
        box.stdin.drain()
        assert box.stdout.read().split()[0] == digest(data)


@check()
def five_megabytes():
    for backend in (1, 2):
        line = "head -c 1048575 /dev/zero | tr '\\0' x; echo"
        program = f"for i in 1 2 3 4 5; do {line}; done"
        with sandbox_of(backend, "sh", "-c", program) as box:
            text = box.stdout.read()
            assert len(text) == 5 * MEBI, len(text)
            assert text == ("x" * (MEBI - 1) + "\n") * 5


@check()
def characters_of_several_bytes():
    for backend in (1, 2):
        with sandbox_of(
            backend, "sh", "-c", "printf 'gr\\303'; sleep 1; printf '\\274n \\342\\202\\254\\n'"
        ) as box:
            assert box.stdout.read() == "grün €\n"
