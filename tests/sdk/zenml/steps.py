"""ZenML's step operator."""

import modal
import world
from checks import check
from support import fails
from zenml.config.resource_settings import ResourceSettings
from zenml.enums import ExecutionStatus


def submitted(operator, info, *command: str, **environment: str) -> modal.Sandbox:
    """The sandbox of a step that was submitted."""
    operator.submit(info, list(command), environment)
    sandbox_id = info.step_run.run_metadata["sandbox_id"]
    assert world.METADATA.of[info.step_run_id][operator.id]["sandbox_id"] == sandbox_id
    return modal.Sandbox.from_id(sandbox_id)


@check()
def a_step_that_completes():
    operator, info = world.step_operator(), world.StepRunInfo()
    text = 'read go; echo "$PLAIN"'
    box = submitted(operator, info, "sh", "-c", text, PLAIN="plain")
    assert operator.get_status(info.step_run) == ExecutionStatus.RUNNING
    box.stdin.write("go\n")
    box.stdin.drain()
    assert operator.wait(info.step_run) == ExecutionStatus.COMPLETED
    assert box.stdout.read() == "plain\n"


@check()
def a_step_that_fails():
    operator, info = world.step_operator(), world.StepRunInfo()
    submitted(operator, info, "sh", "-c", "exit 3")
    assert operator.wait(info.step_run) == ExecutionStatus.FAILED


@check(31)
def secrets_of_a_step():
    operator, info = world.step_operator(), world.StepRunInfo()
    text = 'echo "$ZENML_STORE_API_TOKEN $PLAIN"'
    box = submitted(operator, info, "sh", "-c", text, ZENML_STORE_API_TOKEN="secret", PLAIN="plain")
    assert box.stdout.read() == "secret plain\n"


@check(26, 32)
def a_step_with_gpu():
    operator = world.step_operator(gpu="A100", region="us-east-1")
    info = world.StepRunInfo(resources=ResourceSettings(gpu_count=2, cpu_count=2, memory="2GB"))
    box = submitted(
        operator, info, "sh", "-c", "echo $MODAL_TOKEN_ID", MODAL_TOKEN_ID="ak-forwarded"
    )
    assert len(box.object_id) == len("sb-") + 22
    assert operator.wait(info.step_run) == ExecutionStatus.COMPLETED
    assert box.stdout.read() == "ak-forwarded\n"


@check(40)
def a_step_that_is_cancelled():
    operator, info = world.step_operator(), world.StepRunInfo()
    box = submitted(operator, info, "sleep", "600")
    operator.cancel(info.step_run)
    operator.cancel(info.step_run)
    assert operator.get_status(info.step_run) == ExecutionStatus.FAILED
    assert box.poll() == 137


@check(41)
def a_step_that_takes_too_long():
    operator, info = world.step_operator(timeout=1), world.StepRunInfo()
    box = submitted(operator, info, "sleep", "600")
    assert operator.wait(info.step_run) == ExecutionStatus.FAILED
    assert box.poll() == 124


@check()
def a_step_whose_metadata_cannot_be_recorded():
    operator, info = world.step_operator(), world.StepRunInfo()
    world.METADATA.refused.add(info.step_run_id)
    fails(RuntimeError, lambda: operator.submit(info, ["sleep", "600"], {}))
    # Nothing of it runs on.
    app = modal.App.lookup(f"zenml-{info.step_run_id}-train"[:64])
    assert [box.object_id for box in modal.Sandbox.list(app_id=app.app_id)] == []


@check()
def a_step_in_an_environment():
    operator, info = world.step_operator(modal_environment="staging"), world.StepRunInfo()
    box = submitted(operator, info, "true")
    name = f"zenml-{info.step_run_id}-train"[:64]
    app = modal.App.lookup(name, environment_name="staging")
    fails(modal.exception.NotFoundError, lambda: modal.App.lookup(name))
    box.wait()
    assert list(modal.Sandbox.list(app_id=app.app_id)) == []
    recorded = world.METADATA.of[info.step_run_id][operator.id]
    assert recorded["modal_environment"] == "staging"


@check()
def a_step_that_ended_is_not_cancelled():
    operator, info = world.step_operator(), world.StepRunInfo()
    submitted(operator, info, "true")
    assert operator.wait(info.step_run) == ExecutionStatus.COMPLETED
    operator.cancel(info.step_run)
    assert operator.get_status(info.step_run) == ExecutionStatus.COMPLETED


@check()
def a_step_without_a_command():
    operator, info = world.step_operator(), world.StepRunInfo()
    fails(ValueError, lambda: operator.submit(info, [], {}))
