"""Names, tags and listings."""

import modal
from checks import check
from modal.exception import NotFoundError
from support import client_of, fails, fresh_app, sandbox, sandbox_of, unique


def ids(**options) -> list[str]:
    return [box.object_id for box in modal.Sandbox.list(**options)]


@check()
def by_name():
    ours, name = fresh_app(), unique("name")
    for backend in (1, 2):
        with sandbox_of(backend, app=ours, name=name) as box:
            found = modal.Sandbox.from_name(ours.name, name)
            assert found.object_id == box.object_id
            assert found.poll() is None


@check()
def by_a_name_that_nobody_has():
    ours = fresh_app()
    fails(NotFoundError, lambda: modal.Sandbox.from_name(ours.name, "nobody"))
    fails(NotFoundError, lambda: modal.Sandbox.from_name(unique("no-app"), "nobody"))


@check()
def by_the_name_of_an_ended_one():
    ours, name = fresh_app(), unique("name")
    with sandbox("true", app=ours, name=name) as box:
        box.wait()
    fails(NotFoundError, lambda: modal.Sandbox.from_name(ours.name, name))
    found = modal.Sandbox.from_name(ours.name, name, include_terminated=True)
    assert found.object_id == box.object_id


@check(42)
def tags_from_the_start():
    with sandbox(tags={"a": "1", "b": "2"}) as box:
        assert box.get_tags() == {"a": "1", "b": "2"}


@check(42, 44)
def setting_tags_replaces_all():
    for backend in (1, 2):
        with sandbox_of(backend) as box:
            box.set_tags({"a": "1", "b": "2"})
            assert box.get_tags() == {"a": "1", "b": "2"}
            box.set_tags({"c": "3"})
            assert box.get_tags() == {"c": "3"}
            box.set_tags({})
            assert box.get_tags() == {}


@check(42)
def tags_of_an_ended_one():
    with sandbox("true") as box:
        box.wait()
        box.set_tags({"late": "1"})
        assert box.get_tags() == {"late": "1"}


@check(42)
def listing_both_backends():
    ours = fresh_app()
    with sandbox_of(1, app=ours) as older, sandbox_of(2, app=ours) as newer:
        assert ids(app_id=ours.app_id) == [newer.object_id, older.object_id]


@check(42)
def listing_by_tags():
    ours = fresh_app()
    with (
        sandbox(app=ours, tags={"a": "1", "b": "2"}) as both,
        sandbox(app=ours, tags={"a": "1"}) as one,
    ):
        with sandbox(app=ours):
            listed = lambda **tags: ids(app_id=ours.app_id, tags=tags)
            assert listed(a="1") == [one.object_id, both.object_id]
            assert listed(a="1", b="2") == [both.object_id]
            assert listed(b="1") == [] and listed(c="") == []
            one.set_tags({"b": "2"})
            assert listed(b="2") == [one.object_id, both.object_id]


@check(42)
def ended_ones_are_not_listed():
    ours = fresh_app()
    with sandbox(app=ours) as runs:
        for command in (("true",), ("sleep", "600")):
            with sandbox(*command, app=ours):
                pass
        assert ids(app_id=ours.app_id) == [runs.object_id]
    assert ids(app_id=ours.app_id) == []


@check(43)
def listing_page_by_page():
    # A page of that server has two sandboxes.
    client = client_of("SUITE_PAGES_URL")
    ours = modal.App.lookup(unique("app"), create_if_missing=True, client=client)
    image = modal.Image.from_registry("python:3.11-slim")
    boxes = []
    try:
        for _ in range(3):
            box = modal.Sandbox.create("sleep", "600", app=ours, image=image, client=client)
            boxes.append(box)
        listed = ids(app_id=ours.app_id, client=client)
        assert listed == [box.object_id for box in reversed(boxes)], listed
    finally:
        for box in boxes:
            box.terminate()


@check()
def listing_an_empty_app():
    assert ids(app_id=fresh_app().app_id) == []
