"""Apps, images, credentials: what is there before a sandbox."""

import re
from pathlib import Path

import modal
from checks import check
from modal.exception import AuthError, InvalidError, NotFoundError
from support import IMAGE, app, client_of, fails, fresh_app, image, sandbox, unique


@check(18)
def an_app_that_does_not_exist():
    name = unique("no-app")
    assert name in fails(NotFoundError, lambda: modal.App.lookup(name))


@check(18)
def an_app_is_created_once():
    name = unique("app")
    first = modal.App.lookup(name, create_if_missing=True)
    assert re.fullmatch(r"ap-[0-9A-Za-z]{22}", first.app_id), first.app_id
    for options in ({}, {"create_if_missing": True}):
        assert modal.App.lookup(name, **options).app_id == first.app_id


@check(19)
def apps_of_two_environments():
    name = unique("app")
    here = modal.App.lookup(name, create_if_missing=True)
    there = modal.App.lookup(name, create_if_missing=True, environment_name="staging")
    assert here.app_id != there.app_id
    assert modal.App.lookup(name, environment_name="staging").app_id == there.app_id
    fails(NotFoundError, lambda: modal.App.lookup(name, environment_name="elsewhere"))


@check()
def app_names_are_checked():
    fails(InvalidError, lambda: modal.App.lookup("no spaces", create_if_missing=True))


@check(20)
def an_image_of_a_registry():
    ours = modal.Image.from_registry(unique("registry.example/image"))
    with sandbox("true", image=ours) as box:
        assert ours.object_id.startswith("im-")
        box.wait()


@check()
def the_same_image_has_the_same_id():
    with sandbox("true"), sandbox("true", image=modal.Image.from_registry(IMAGE)):
        again = modal.Image.from_registry(IMAGE)
        with sandbox("true", image=again):
            assert again.object_id == image().object_id


@check(21)
def an_image_with_a_login():
    login = modal.Secret.from_dict({"REGISTRY_USERNAME": "user", "REGISTRY_PASSWORD": "pass"})
    ours = modal.Image.from_registry("registry.example/team/image:1", secret=login)
    with sandbox("sh", "-c", "echo ${REGISTRY_PASSWORD:-unset}", image=ours) as box:
        assert box.stdout.read() == "unset\n"


@check(22)
def a_login_needs_known_keys():
    login = modal.Secret.from_dict({"USER": "user"})
    ours = modal.Image.from_registry("registry.example/team/image:2", secret=login)
    fails(InvalidError, lambda: modal.Sandbox.create("true", app=app(), image=ours))


@check()
def an_unknown_image():
    ours = modal.Image.from_id("im-00000000000000000000000000")
    fails(NotFoundError, lambda: modal.Sandbox.create("true", app=app(), image=ours))


@check(15)
def a_wrong_token():
    stranger = client_of("MODAL_SERVER_URL", token_secret="as-wrong")
    said = fails(AuthError, lambda: modal.App.lookup("suite", client=stranger))
    assert "token refused" in said, said
    some = "sb-01JB0000000000000000000000"
    fails(AuthError, lambda: modal.Sandbox.from_id(some, client=stranger))


@check()
def greeting():
    client_of("MODAL_SERVER_URL").hello()


@check(14, 16)
def short_lived_tokens_are_renewed():
    client = client_of("SUITE_SHORT_TOKENS_URL")
    ours = modal.App.lookup(unique("app"), create_if_missing=True, client=client)
    theirs = modal.Image.from_registry(IMAGE)
    box = modal.Sandbox.create("sleep", "600", app=ours, image=theirs, client=client)
    try:
        # The token of the first call lives eight seconds.
        process = box.exec("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 2; done")
        assert process.stdout.read() == "1\n2\n3\n4\n5\n"
        assert box.poll() is None
        assert box.exec("echo", "later").stdout.read() == "later\n"
    finally:
        box.terminate()
    assert box.poll() == 137


@check()
def an_app_by_its_id():
    ours = fresh_app()
    assert modal.App.lookup(ours.app_id).app_id == ours.app_id


@check()
def the_list_of_calls_is_that_of_the_stubs():
    from modal_proto.api_grpc import ModalClientBase
    from modal_proto.task_command_router_grpc import TaskCommandRouterBase

    services = {
        "modal.client.ModalClient": ModalClientBase,
        "modal.task_command_router.TaskCommandRouter": TaskCommandRouterBase,
    }
    calls = [
        f"{service}/{call}"
        for service, base in services.items()
        for call in sorted(base.__abstractmethods__)
    ]
    listed = Path(__file__).parent.parent.joinpath("parity/rpcs.txt").read_text().split()
    assert listed == calls
