"""ZenML's sandbox component."""

import tempfile
from pathlib import Path

import modal
import world
from checks import check
from support import MEBI, fails, noise
from zenml.integrations.modal.flavors import ModalSandboxSettings
from zenml.sandboxes import SandboxExecError, SandboxSessionClosedError


@check()
def a_session_runs_commands():
    with world.sandbox_component().create_session(destroy_on_exit=True) as session:
        process = session.exec(["sh", "-c", "echo out; echo err >&2; exit 3"])
        said = process.collect()
        assert (said.stdout, said.stderr, said.exit_code) == ("out\n", "err\n", 3)
    assert session.closed
    assert modal.Sandbox.from_id(session.id).poll() == 137


@check()
def directories_environment_and_text_commands():
    settings = ModalSandboxSettings(sandbox_environment={"A": "session", "B": "session"})
    with world.sandbox_component().create_session(settings, destroy_on_exit=True) as session:
        process = session.exec("sh -c 'pwd; echo $A $B'", cwd="/usr", env={"A": "exec"})
        assert process.collect().stdout == "/usr\nexec session\n"


@check()
def output_line_by_line():
    with world.sandbox_component().create_session(destroy_on_exit=True) as session:
        process = session.exec(["printf", "one\\ntwo\\nthree"])
        assert list(process.stdout()) == ["one\n", "two\n", "three"]
        assert process.wait(timeout=30) == 0
        assert process.exit_code == 0


@check()
def much_output_is_cut():
    with world.sandbox_component().create_session(destroy_on_exit=True) as session:
        said = session.exec(["sh", "-c", "yes 0123456789 | head -c 2200000"]).collect()
        assert said.stdout_truncated and not said.stderr_truncated
        assert MEBI - 11 <= len(said.stdout) <= MEBI, len(said.stdout)


@check()
def waiting_has_a_limit():
    with world.sandbox_component().create_session(destroy_on_exit=True) as session:
        process = session.exec(["sleep", "600"])
        assert process.exit_code is None
        fails(TimeoutError, lambda: process.wait(timeout=1))
        fails(NotImplementedError, process.kill)


@check()
def files_there_and_back():
    data = noise(5 * MEBI, seed=5)
    with tempfile.TemporaryDirectory() as local:
        up, down = Path(local, "up"), Path(local, "down")
        up.write_bytes(data)
        with world.sandbox_component().create_session(destroy_on_exit=True) as session:
            remote = session.exec(["pwd"]).collect().stdout.strip() + "/data"
            session.upload_file(str(up), remote)
            session.download_file(remote, str(down))
        assert down.read_bytes() == data


@check()
def a_snapshot_and_a_session_from_it():
    component = world.sandbox_component(sandbox_environment={"KEPT": "env"})
    with component.create_session(destroy_on_exit=True) as session:
        session.exec(["sh", "-c", "echo kept > file"]).collect()
        snapshot = session.create_snapshot()
        assert snapshot.ref.startswith("im-")
    restored = component.restore(snapshot)
    try:
        said = restored.exec(["sh", "-c", "cat file; echo $KEPT"]).collect()
        assert said.stdout == "kept\nenv\n", said
        fails(ValueError, lambda: world.sandbox_component().restore(snapshot))
    finally:
        restored.destroy()


@check()
def attaching_to_a_session():
    component = world.sandbox_component()
    with component.create_session(destroy_on_exit=True) as session:
        attached = component.attach(session.id)
        assert attached.exec(["echo", "hi"]).collect().stdout == "hi\n"
        attached.close()
        fails(SandboxSessionClosedError, lambda: attached.exec(["true"]))
        # Closing it ended nothing.
        assert session.exec(["true"]).wait() == 0
    assert "has already terminated" in fails(RuntimeError, lambda: component.attach(session.id))
    fails(RuntimeError, lambda: component.attach("sb-01JB0000000000000000000000"))


@check()
def destroying_twice():
    component = world.sandbox_component()
    session = component.create_session()
    session.destroy()
    session.destroy()
    assert modal.Sandbox.from_id(session.id).poll() == 137


@check(42)
def a_session_is_tagged():
    component = world.sandbox_component(app_name="zenml-tags")
    with component.create_session(destroy_on_exit=True) as session:
        box = modal.Sandbox.from_id(session.id)
        tags = {
            "zenml-sandbox-id": session.id,
            "zenml-sandbox-component-id": str(component.id),
        }
        assert box.get_tags() == tags
        app = modal.App.lookup("zenml-tags")
        listed = [box.object_id for box in modal.Sandbox.list(app_id=app.app_id, tags=tags)]
        assert listed == [session.id]


@check(21, 26)
def a_session_with_gpu_login_and_tokens():
    import os

    component = world.sandbox_component(
        token_id=os.environ["MODAL_TOKEN_ID"],
        token_secret=os.environ["MODAL_TOKEN_SECRET"],
        image=world.IMAGE,
        gpu="T4",
        cpu=2,
        memory="2GB",
        modal_environment="staging",
    )
    with component.create_session(destroy_on_exit=True) as session:
        assert len(session.id) == len("sb-") + 22
        assert session.exec(["echo", "hi"]).collect().stdout == "hi\n"


@check()
def a_command_on_a_destroyed_sandbox():
    component = world.sandbox_component()
    with component.create_session() as session:
        attached = component.attach(session.id)
        session.destroy()

        def run() -> None:
            attached.exec(["true"]).wait()
            raise AssertionError("it ran")

        fails((SandboxExecError, modal.exception.NotFoundError), run)
