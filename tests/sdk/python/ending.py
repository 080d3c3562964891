"""How sandboxes end, and how that is asked."""

import time

import modal
from checks import check
from modal.exception import NotFoundError, SandboxTerminatedError, SandboxTimeoutError
from support import eventually, fails, is_v1, output, sandbox, sandbox_of


@check(36, 39)
def running_has_no_code():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            assert box.poll() is None
            assert box.returncode is None


@check(36, 38, 41)
def a_timeout_is_124():
    for backend in (1, 2):
        with sandbox_of(backend, timeout=1) as box:
            fails(SandboxTimeoutError, box.wait)
            assert (box.returncode, box.poll()) == (124, 124)


@check(36, 38, 40)
def terminating_is_137():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            box.terminate()
            assert modal.Sandbox.from_id(box.object_id).poll() == 137
            fails(SandboxTerminatedError, box.wait)
            box.wait(raise_on_termination=False)
            assert box.returncode == 137


@check(40)
def terminating_twice_is_fine():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            box.terminate()
            again = modal.Sandbox.from_id(box.object_id)
            again.terminate()
            assert again.poll() == 137


@check(40)
def terminating_does_not_change_an_end():
    with sandbox("sh", "-c", "exit 4") as box:
        box.wait()
        box.terminate()
        assert modal.Sandbox.from_id(box.object_id).poll() == 4


@check()
def terminating_and_waiting():
    with sandbox() as box:
        assert modal.Sandbox.from_id(box.object_id).terminate(wait=True) == 137


@check()
def terminating_ends_what_the_command_started():
    with sandbox("sh", "-c", "setsid sleep 4321 & echo started $!; wait") as box:
        pid = next(iter(box.stdout)).split()[-1]
        box.terminate()
    with sandbox() as other:
        gone = f"test ! -e /proc/{pid} || grep -q '^State:.Z' /proc/{pid}/status"
        eventually("the process is gone", lambda: other.exec("sh", "-c", gone).wait() == 0)


@check(37, 39)
def waiting_longer_than_one_question():
    with sandbox("sh", "-c", "sleep 11; exit 5") as box:
        box.wait()
        assert box.returncode == 5


@check()
def idle_sandboxes_end():
    with sandbox(idle_timeout=2) as box:
        before = time.monotonic()
        box.wait()
        assert time.monotonic() - before >= 1
        # Not the end of its time, for which waiting raises.
        assert box.returncode == 124, box.returncode


@check()
def busy_sandboxes_are_not_idle():
    with sandbox(idle_timeout=8) as box:
        assert output(box, "sh", "-c", "sleep 10; echo busy") == "busy\n"
        assert box.poll() is None


@check(34, 35)
def a_handle_by_id():
    for backend in (1, 2):
        with sandbox_of(backend, "sh", "-c", "read line; exit 6") as box:
            again = modal.Sandbox.from_id(box.object_id)
            assert again.object_id == box.object_id
            assert is_v1(again.object_id) == (backend == 1)
            assert again.poll() == box.poll()


@check(34, 35)
def unknown_ids():
    for unknown in ("sb-" + "0" * 22, "sb-01JB0000000000000000000000"):
        said = fails(NotFoundError, lambda: modal.Sandbox.from_id(unknown))
        assert unknown in said, said


@check(63)
def a_dashboard_url():
    with sandbox("true") as box:
        assert box.get_dashboard_url() == f"https://modal.com/id/{box.object_id}"
