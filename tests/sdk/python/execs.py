"""Commands in a running sandbox."""

from concurrent.futures import ThreadPoolExecutor

import modal
from checks import check
from modal.exception import ConflictError, InvalidError, NotFoundError
from modal.stream_type import StreamType
from support import (
    MEBI,
    digest,
    eventually,
    fails,
    in_another_process,
    noise,
    output,
    sandbox,
    sandbox_of,
)


@check(45)
def output_and_code():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            process = box.exec("sh", "-c", "echo out; echo err >&2; exit 7")
            assert (process.stdout.read(), process.stderr.read()) == ("out\n", "err\n")
            assert process.wait() == 7
            assert process.returncode == 7


@check(47)
def success_is_zero():
    with sandbox() as box:
        process = box.exec("true")
        assert process.wait() == 0
        assert process.poll() == 0


@check(47)
def a_signal_is_128_and_its_number():
    with sandbox() as box:
        assert box.exec("sh", "-c", "kill -KILL $$").wait() == 137
        assert box.exec("sh", "-c", "kill -TERM $$").wait() == 143


@check(47)
def running_has_no_code():
    with sandbox() as box:
        process = box.exec("cat")
        assert process.poll() is None
        fails(InvalidError, lambda: process.returncode)
        process.stdin.write_eof()
        process.stdin.drain()
        eventually("an end", lambda: process.poll() == 0)


@check()
def the_working_directory():
    with sandbox() as box:
        assert output(box, "pwd", workdir="/usr") == "/usr\n"
        ours = output(box, "pwd")
        assert output(box, "sh", "-c", "cd && pwd").startswith(ours.rstrip("\n"))


@check(45)
def a_relative_working_directory():
    with sandbox() as box:
        fails(InvalidError, lambda: box.exec("pwd", workdir="usr"))


@check()
def a_working_directory_that_does_not_exist():
    with sandbox() as box:

        def attempt():
            code = box.exec("pwd", workdir="/no/such/directory").wait()
            assert code != 0
            raise NotFoundError("a code of its own")

        fails((InvalidError, NotFoundError), attempt)


@check()
def the_environment():
    secrets = [modal.Secret.from_dict({"A": "secret", "B": "secret"})]
    for backend in (1, 2):
        with sandbox_of(backend, env={"A": "box", "C": "box", "D": "box"}) as box:
            text = 'echo "$A $B $C $D"'
            said = output(box, "sh", "-c", text, secrets=secrets, env={"A": "exec", "C": "exec"})
            assert said == "exec secret exec box\n", said
            # It was for that command alone.
            assert output(box, "sh", "-c", text) == "box  box box\n"


@check()
def a_variable_that_is_none_is_left_out():
    with sandbox() as box:
        said = output(box, "sh", "-c", "echo ${A-unset} ${B-unset}", env={"A": None, "B": "b"})
        assert said == "unset b\n"


@check()
def a_named_secret():
    modal.Secret.objects.create("exec-secret", {"KEPT": "value"}, allow_existing=True)
    with sandbox() as box:
        secrets = [modal.Secret.from_name("exec-secret")]
        assert output(box, "sh", "-c", "echo $KEPT", secrets=secrets) == "value\n"


@check()
def standard_input():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            process = box.exec("cat")
            for piece in ("one ", "two\n", b"\xe2\x82\xac\n"):
                process.stdin.write(piece)
                process.stdin.drain()
            process.stdin.write_eof()
            process.stdin.drain()
            assert process.stdout.read() == "one two\n€\n"
            assert process.wait() == 0


@check()
def standard_input_while_it_runs():
    with sandbox() as box:
        process = box.exec("sh", "-c", "while read line; do echo got $line; done", bufsize=1)
        lines = iter(process.stdout)
        for word in ("a", "b", "c"):
            process.stdin.write(word + "\n")
            process.stdin.drain()
            assert next(lines) == f"got {word}\n"
        process.stdin.write_eof()
        process.stdin.drain()
        assert list(lines) == []
        assert process.wait() == 0


@check()
def five_megabytes_in():
    data = noise(5 * MEBI)
    with sandbox() as box:
        process = box.exec("sha256sum")
        for start in range(0, len(data), MEBI):
            process.stdin.write(data[start : start + MEBI])
            process.stdin.drain()
        process.stdin.write_eof()
        process.stdin.drain()
        assert process.stdout.read().split()[0] == digest(data)


@check()
def five_megabytes_there_and_back():
    data = noise(5 * MEBI, seed=2)
    with sandbox() as box:
        process = box.exec("cat", text=False)

        def feed() -> None:
            for start in range(0, len(data), MEBI):
                process.stdin.write(data[start : start + MEBI])
                process.stdin.drain()
            process.stdin.write_eof()
            process.stdin.drain()

        with ThreadPoolExecutor(1) as threads:
            feeding = threads.submit(feed)
            assert process.stdout.read() == data
            feeding.result()
        assert process.wait() == 0


@check()
def five_megabytes_of_both_outputs():
    with sandbox() as box:
        text = "head -c 5242880 /dev/zero; head -c 5242880 /dev/zero >&2"
        process = box.exec("sh", "-c", text, text=False)
        assert process.stdout.read() == bytes(5 * MEBI)
        assert process.stderr.read() == bytes(5 * MEBI)
        assert process.wait() == 0


@check(52)
def output_after_the_end():
    with sandbox() as box:
        process = box.exec("sh", "-c", "echo still there; echo too >&2")
        assert process.wait() == 0
        assert (process.stdout.read(), process.stderr.read()) == ("still there\n", "too\n")


@check(62)
def a_second_read_is_empty():
    with sandbox() as box:
        process = box.exec("echo", "once")
        assert process.stdout.read() == "once\n"
        assert process.stdout.read() == ""


@check()
def output_line_by_line():
    with sandbox() as box:
        process = box.exec("printf", "one\\ntwo\\nthree", bufsize=1)
        assert list(process.stdout) == ["one\n", "two\n", "three"]


@check()
def output_that_nobody_wants():
    with sandbox() as box:
        process = box.exec(
            "sh", "-c", "head -c 5242880 /dev/zero; echo err >&2", stdout=StreamType.DEVNULL
        )
        assert process.wait() == 0
        assert process.stderr.read() == "err\n"


@check()
def a_timeout_ends_the_command():
    with sandbox() as box:
        process = box.exec("sh", "-c", "echo $$; exec sleep 600", timeout=5, bufsize=1)
        pid = next(iter(process.stdout)).strip()
        # The SDK gives up and the server kills it at the same time: -1 is the
        # SDK's, 137 the server's.
        assert process.wait() in (-1, 137)
        gone = f"test ! -e /proc/{pid} || grep -q '^State:.Z' /proc/{pid}/status"
        eventually("the command is gone", lambda: box.exec("sh", "-c", gone).wait() == 0)
        assert box.poll() is None


@check()
def a_command_that_does_not_exist():
    with sandbox() as box:

        def attempt():
            code = box.exec("no-such-program").wait()
            assert code not in (0, -1)
            raise NotFoundError("a code of its own")

        fails((InvalidError, NotFoundError), attempt)


@check(46)
def after_the_end_of_the_sandbox():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            box.terminate()
            ended = modal.Sandbox.from_id(box.object_id)
            fails((ConflictError, NotFoundError), lambda: ended.exec("true").wait())


@check()
def the_end_of_the_sandbox_ends_commands():
    with sandbox() as box:
        process = box.exec("sleep", "600")
        assert process.poll() is None
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(process.wait)
            modal.Sandbox.from_id(box.object_id).terminate()
            try:
                assert waiting.result(timeout=60) in (137, 143)
            except NotFoundError:
                pass


@check()
def many_at_once():
    with sandbox() as box, ThreadPoolExecutor(20) as threads:
        # Each waits for all.
        wait = "while [ $(ls | wc -l) -lt 20 ]; do sleep 0.1; done"

        def one(number: int) -> str:
            return output(box, "sh", "-c", f"touch {number}; {wait}; echo {number}")

        said = list(threads.map(one, range(20)))
        assert said == [f"{number}\n" for number in range(20)]


@check()
def from_another_handle():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            again = modal.Sandbox.from_id(box.object_id)
            assert output(again, "echo", "hi") == "hi\n"


@check()
def a_terminal():
    with sandbox() as box:
        said = output(box, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && tty", pty=True)
        assert said.strip().startswith("/dev/pts/"), said
        # Without one there is none.
        assert box.exec("test", "-t", "1").wait() == 1


@check()
def a_terminal_takes_keys():
    with sandbox() as box:
        process = box.exec(
            "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; read line", pty=True
        )
        chunks = iter(process.stdout)
        said = next(chunks)
        while "ready" not in said:
            said += next(chunks)
        process.stdin.write(b"\x03")
        process.stdin.drain()
        for chunk in chunks:
            said += chunk
        assert "caught" in said, said
        assert process.wait() == 9


@check()
def commands_share_the_sandboxes_directory():
    with sandbox("sh", "-c", "echo from the command > shared; sleep 600") as box:
        eventually("the file", lambda: box.exec("test", "-s", "shared").wait() == 0)
        assert output(box, "cat", "shared") == "from the command\n"


@check()
def too_many_arguments():
    with sandbox() as box:
        fails(InvalidError, lambda: box.exec("echo", "x" * 70_000))


@check(64)
def after_a_while_without_calls():
    source = """
import time, support
with support.sandbox() as box:
    first = box.exec("echo", "before").stdout.read()
    time.sleep(3)
    print(first + box.exec("echo", "after").stdout.read(), end="")
"""
    path = __file__.rsplit("/", 1)[0]
    variables = {"MODAL_SANDBOX_CHANNEL_IDLE_TIMEOUT": "1", "PYTHONPATH": path}
    assert in_another_process(source, **variables) == "before\nafter"
