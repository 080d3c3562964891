"""ZenML's components without ZenML's server.

The classes under test are ZenML's own. What they ask of its server is small, and
answered here: the registry of the active stack, and where metadata is recorded.
"""

import os
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

# Before it is imported: nothing of the user's settings is read or written.
_SETTINGS = tempfile.TemporaryDirectory(prefix="suite-zenml-")
os.environ["ZENML_CONFIG_PATH"] = _SETTINGS.name
os.environ["ZENML_ANALYTICS_OPT_IN"] = "false"

from zenml.config.resource_settings import ResourceSettings  # noqa: E402
from zenml.enums import StackComponentType  # noqa: E402
from zenml.integrations.modal.flavors import (  # noqa: E402
    ModalSandboxConfig,
    ModalStepOperatorConfig,
)
from zenml.integrations.modal.sandboxes import ModalSandbox, modal_sandbox  # noqa: E402
from zenml.integrations.modal.step_operators import (  # noqa: E402
    ModalStepOperator,
    modal_step_operator,
)

REGISTRY = "registry.example/team"
IMAGE = f"{REGISTRY}/image:1"


class Registry:
    """The container registry of the active stack."""

    credentials = ("user", "password")

    def is_valid_image_name_for_registry(self, image: str) -> bool:
        return image.startswith(REGISTRY + "/")


class Client:
    """What the components take of ZenML's client."""

    active_stack = SimpleNamespace(container_registry=Registry())


@dataclass
class Metadata:
    """Where metadata of step runs is recorded; it refuses on request."""

    of: dict[UUID, dict[UUID, dict[str, Any]]] = field(default_factory=dict)
    refused: set[UUID] = field(default_factory=set)

    def publish(self, step_run_id: UUID, metadata: dict[UUID, dict[str, Any]]) -> None:
        if step_run_id in self.refused:
            raise RuntimeError("the server is not there")
        self.of[step_run_id] = metadata


METADATA = Metadata()

modal_sandbox.Client = Client
modal_step_operator.Client = Client
modal_step_operator.publish_step_run_metadata = METADATA.publish


def sandbox_component(**config: Any) -> ModalSandbox:
    """A sandbox component."""
    kind = StackComponentType.SANDBOX
    return _component(ModalSandbox, kind, ModalSandboxConfig(**config))


def step_operator(**config: Any) -> ModalStepOperator:
    """A step operator."""
    kind = StackComponentType.STEP_OPERATOR
    return _component(ModalStepOperator, kind, ModalStepOperatorConfig(**config))


def _component(implementation: Any, kind: StackComponentType, config: Any) -> Any:
    now = datetime.now(timezone.utc)
    return implementation(
        name=f"ours-{uuid4().hex[:8]}",
        id=uuid4(),
        config=config,
        flavor="modal",
        type=kind,
        user=None,
        created=now,
        updated=now,
    )


@dataclass
class StepRunInfo:
    """A step run that is to be submitted."""

    settings: dict[str, Any] = field(default_factory=dict)
    resources: ResourceSettings = field(default_factory=ResourceSettings)
    step_run_id: UUID = field(default_factory=uuid4)
    pipeline_step_name: str = "train"

    def __post_init__(self) -> None:
        self.pipeline_configuration = SimpleNamespace(settings=self.settings)
        self.config = SimpleNamespace(resource_settings=self.resources)
        self.step_run = SimpleNamespace(id=self.step_run_id, run_metadata={})

    def get_image(self, key: str) -> str:
        assert key == "modal_step_operator", key
        return IMAGE
