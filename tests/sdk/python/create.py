"""Creating sandboxes: backends, commands, environment, resources."""

import modal
from checks import check
from modal.exception import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
    ResourceExhaustedError,
)
from support import (
    app,
    client_of,
    eventually,
    fails,
    fresh_app,
    image,
    in_another_process,
    is_v1,
    output,
    sandbox,
    sandbox_of,
    unique,
)


@check(26)
def without_gpu_on_the_newer_backend():
    with sandbox("true") as box:
        assert box.object_id.startswith("sb-") and not is_v1(box.object_id)
        box.wait()
        assert box.returncode == 0


@check(26, 33)
def with_gpu_on_the_older_backend():
    with sandbox("true", gpu="A100:2") as box:
        assert is_v1(box.object_id)
        box.wait()
        assert box.returncode == 0


@check(26)
def the_older_backend_on_request():
    source = """
import support
with support.sandbox("sh", "-c", "echo from v1") as box:
    assert support.is_v1(box.object_id), box.object_id
    print(box.stdout.read(), end="")
"""
    path = __file__.rsplit("/", 1)[0]
    said = in_another_process(source, MODAL_SANDBOX_V2="0", PYTHONPATH=path)
    assert said == "from v1", said


@check(27)
def gpu_counts_are_checked_before_anything_is_sent():
    fails(
        InvalidError, lambda: modal.Sandbox.create("true", app=app(), image=image(), gpu="A100:x")
    )


@check(28, 29)
def resources_and_placement_are_accepted():
    options = {"cpu": 0.5, "memory": 2048, "region": "us-east-1", "cloud": "aws"}
    for backend in (1, 2):
        with sandbox_of(backend, "true", **options) as box:
            box.wait()
            assert box.returncode == 0


@check(31)
def environment_of_the_newer_backend():
    secrets = [modal.Secret.from_dict({"A": "secret", "B": "secret"})]
    command = ("sh", "-c", 'echo "$A $B $C"')
    with sandbox(*command, secrets=secrets, env={"A": "env", "C": "env", "D": None}) as box:
        assert box.stdout.read() == "env secret env\n"


@check(32)
def environment_of_the_older_backend():
    secrets = [modal.Secret.from_dict({"A": "secret", "B": "secret"})]
    command = ("sh", "-c", 'echo "$A $B $C"')
    with sandbox(*command, gpu="T4", secrets=secrets, env={"A": "env", "C": "env"}) as box:
        assert box.stdout.read() == "env secret env\n"


@check()
def nothing_of_the_servers_environment_leaks():
    with sandbox("env") as box:
        names = {line.split("=")[0] for line in box.stdout.read().splitlines()}
    assert not any(name.startswith(("MODAL_TOKEN", "SUITE_", "CARGO")) for name in names), names
    assert "MODAL_IS_REMOTE" not in names
    assert {"HOME", "PATH", "TMPDIR"} <= names


@check()
def working_directory_of_the_command():
    with sandbox("pwd", workdir="/usr") as box:
        assert box.stdout.read() == "/usr\n"
    fails(
        InvalidError, lambda: modal.Sandbox.create("pwd", app=app(), image=image(), workdir="usr")
    )


@check()
def exit_codes_of_the_command():
    for backend in (1, 2):
        with sandbox_of(backend, "sh", "-c", "exit 3") as box:
            box.wait()
            assert (box.returncode, box.poll()) == (3, 3)


@check()
def a_command_that_does_not_exist():
    with sandbox("no-such-program") as box:
        box.wait()
        assert box.returncode not in (0, None)


@check()
def without_a_command_it_stays():
    box = modal.Sandbox.create(app=app(), image=image())
    try:
        assert box.poll() is None
        assert output(box, "echo", "here") == "here\n"
    finally:
        box.terminate()


@check()
def the_default_image():
    box = modal.Sandbox.create("echo", "hi", app=app())
    try:
        assert box.stdout.read() == "hi\n"
    finally:
        box.terminate()


@check()
def a_name_is_taken_once_per_app():
    ours, name = fresh_app(), unique("name")
    for backend in (1, 2):
        with sandbox_of(backend, app=ours, name=name) as box:
            again = lambda: modal.Sandbox.create("true", app=ours, image=image(), name=name)
            said = fails(AlreadyExistsError, again)
            assert name in said and box.object_id in said, said
            with sandbox("true", app=fresh_app(), name=name):
                pass


@check()
def a_name_is_free_after_the_end():
    ours, name = fresh_app(), unique("name")
    with sandbox(app=ours, name=name) as first:
        pass
    with sandbox(app=ours, name=name) as second:
        assert first.object_id != second.object_id


@check()
def names_are_checked():
    fails(InvalidError, lambda: modal.Sandbox.create("true", app=app(), image=image(), name="a b"))


@check()
def named_secrets():
    name = unique("secret")
    modal.Secret.objects.create(name, {"TOKEN": "kept"})
    for backend in (1, 2):
        secrets = [modal.Secret.from_name(name)]
        with sandbox_of(backend, "sh", "-c", "echo $TOKEN", secrets=secrets) as box:
            assert box.stdout.read() == "kept\n"
    again = lambda: modal.Secret.objects.create(name, {"TOKEN": "other"})
    fails(AlreadyExistsError, again)


@check()
def a_named_secret_that_does_not_exist():
    secrets = [modal.Secret.from_name(unique("no-secret"))]
    create = lambda: modal.Sandbox.create("true", app=app(), image=image(), secrets=secrets)
    fails(NotFoundError, create)


@check()
def only_so_much_on_the_disk():
    client = client_of("SUITE_LITTLE_DISK_URL")
    ours = modal.App.lookup(unique("app"), create_if_missing=True, client=client)
    theirs = modal.Image.from_registry("python:3.11-slim")

    def create(*command: str) -> modal.Sandbox:
        return modal.Sandbox.create(*command, app=ours, image=theirs, client=client)

    def refusal() -> str | None:
        try:
            create("true").wait()
        except ResourceExhaustedError as error:
            return str(error)
        return None

    box = create("sleep", "600")
    try:
        output(box, "sh", "-c", "head -c 9000000 /dev/zero > big")
        said = eventually("it is noticed", refusal)
        assert "8 MiB" in said, said
        fails(ResourceExhaustedError, box.snapshot_filesystem)
        # What runs goes on, and can make room.
        output(box, "rm", "big")
        eventually("there is room", lambda: refusal() is None)
    finally:
        box.terminate()


@check()
def only_so_many_at_once():
    client = client_of("SUITE_SMALL_URL")
    ours = modal.App.lookup(unique("app"), create_if_missing=True, client=client)
    theirs = modal.Image.from_registry("python:3.11-slim")
    boxes = []

    def create() -> None:
        box = modal.Sandbox.create("sleep", "600", app=ours, image=theirs, client=client)
        boxes.append(box)

    def fill() -> None:
        for _ in range(3):
            create()

    try:
        said = fails(ResourceExhaustedError, fill)
        assert "at most 2" in said, said
    finally:
        for box in boxes:
            box.terminate()
