"""Snapshots of a sandbox's files, and sandboxes that start with them."""

import modal
from checks import check
from modal.exception import ConflictError, NotFoundError
from support import MEBI, directory, fails, noise, output, sandbox, sandbox_of

# What a snapshot keeps of a tree: types, modes, sizes, times, links, content.
DESCRIBE = """
cd "$1" && find . -mindepth 1 -printf '%P %y %m %s %T@ %l\\n' | sort
find . -type f | sort | xargs sha256sum
"""


def describe(box: modal.Sandbox) -> str:
    return output(box, "sh", "-c", DESCRIBE, "sh", directory(box) + "/tree")


@check()
def a_new_sandbox_from_it():
    with sandbox() as box:
        make = """
        mkdir -p tree/dir && cd tree
        echo plain > plain; echo run > dir/program; chmod 750 dir/program; chmod 700 dir
        ln -s dir/program link; : > empty; touch -d @1000000000.123456789 plain
        touch -d @1200000000 dir
        """
        output(box, "sh", "-c", make)
        before = describe(box)
        image = box.snapshot_filesystem()
        assert image.object_id.startswith("im-")
    with sandbox(image=image) as restored:
        assert describe(restored) == before


@check(58)
def by_the_id_of_its_image():
    with sandbox() as box:
        box.filesystem.write_text("kept", directory(box) + "/file")
        image_id = box.snapshot_filesystem().object_id
    with sandbox(image=modal.Image.from_id(image_id)) as restored:
        assert output(restored, "cat", "file") == "kept"


@check()
def on_the_other_backend():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            output(box, "sh", "-c", f"echo {backend} > file")
            image = box.snapshot_filesystem()
        with sandbox_of(3 - backend, "cat", "file", image=image) as restored:
            assert restored.stdout.read() == f"{backend}\n"


@check()
def later_changes_are_not_in_it():
    with sandbox() as box:
        output(box, "sh", "-c", "echo early > file")
        image = box.snapshot_filesystem()
        output(box, "sh", "-c", "echo late > file; echo new > other")
        with sandbox(image=image) as restored:
            assert output(restored, "cat", "file") == "early\n"
            assert restored.exec("test", "-e", "other").wait() == 1
            # Nor does the new one change the old one, or the snapshot.
            output(restored, "sh", "-c", "echo changed > file")
            assert output(box, "cat", "file") == "late\n"
        with sandbox(image=image) as again:
            assert output(again, "cat", "file") == "early\n"


@check()
def a_chain_of_them():
    image = None
    for number in range(3):
        with sandbox(**({"image": image} if image else {})) as box:
            output(box, "sh", "-c", f"echo {number} >> file")
            image = box.snapshot_filesystem()
    with sandbox(image=image) as box:
        assert output(box, "cat", "file") == "0\n1\n2\n"


@check()
def five_megabytes():
    data = noise(5 * MEBI, seed=4)
    with sandbox() as box:
        box.filesystem.write_bytes(data, directory(box) + "/data")
        image = box.snapshot_filesystem()
    with sandbox(image=image) as restored:
        assert restored.filesystem.read_bytes(directory(restored) + "/data") == data


@check(57)
def kept_for_ever():
    with sandbox() as box:
        output(box, "sh", "-c", "echo kept > file")
        image = box.snapshot_filesystem(ttl=None)
    with sandbox("cat", "file", image=image) as restored:
        assert restored.stdout.read() == "kept\n"


@check()
def while_commands_run():
    with sandbox() as box:
        process = box.exec(
            "sh", "-c", "echo first > file; echo ready; read line; echo second >> file"
        )
        assert "ready" in next(iter(process.stdout))
        image = box.snapshot_filesystem()
        process.stdin.write("go\n")
        process.stdin.drain()
        assert process.wait() == 0
        assert output(box, "cat", "file") == "first\nsecond\n"
    with sandbox("cat", "file", image=image) as restored:
        assert restored.stdout.read() == "first\n"


@check(46)
def of_an_ended_sandbox():
    with sandbox() as box:
        box.terminate()
        ended = modal.Sandbox.from_id(box.object_id)
        fails((ConflictError, NotFoundError), ended.snapshot_filesystem)
