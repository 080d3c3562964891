"""Modal's operations, as far as flavors use them. Each takes a decoded request
and gives an answer; what travels around them is the plumbing's business."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2 as pb
from modal_proto import task_command_router_pb2 as router_pb

import commands
from world import Sandbox, World

# Operations whose repetition, under one key, must give the same.
IDEMPOTENT = {"SandboxCreate", "SandboxCreateV2", "SecretGetOrCreate"}

# Operations of the newer backend: they want the short-lived token.
WANT_AUTH_TOKEN = {
    "SandboxCreateV2",
    "SandboxGetCommandRouterAccess",
    "SandboxGetFromNameV2",
    "SandboxGetTaskIdV2",
    "SandboxListV2",
    "SandboxTagsGetV2",
    "SandboxTagsSetV2",
    "SandboxTerminateV2",
    "SandboxWaitV2",
}

BUILT = pb.GenericResult(status=pb.GenericResult.GENERIC_STATUS_SUCCESS)


class ControlPlane:
    """The service ModalClient."""

    def __init__(self, world: World) -> None:
        self.world = world

    def sandbox(self, sandbox_id: str) -> Sandbox:
        try:
            return self.world.sandboxes[sandbox_id]
        except KeyError:
            raise GRPCError(Status.NOT_FOUND, f"Sandbox with ID {sandbox_id} not found") from None

    async def AuthTokenGet(self, request: pb.AuthTokenGetRequest) -> Any:
        return pb.AuthTokenGetResponse(token=self.world.new_token(self.world.token_life))

    async def AppGetOrCreate(self, request: pb.AppGetOrCreateRequest) -> Any:
        key = (request.environment_name, request.app_name)
        if key not in self.world.apps:
            if not request.object_creation_type:
                raise GRPCError(Status.NOT_FOUND, f"App '{request.app_name}' not found")
            self.world.apps[key] = self.world.new_id("ap")
        return pb.AppGetOrCreateResponse(app_id=self.world.apps[key])

    async def EnvironmentGetOrCreate(self, request: pb.EnvironmentGetOrCreateRequest) -> Any:
        settings = pb.EnvironmentSettings(image_builder_version="2025.06")
        metadata = pb.EnvironmentMetadata(name=request.deployment_name or "main", settings=settings)
        return pb.EnvironmentGetOrCreateResponse(environment_id="en-1", metadata=metadata)

    async def SecretGetOrCreate(self, request: pb.SecretGetOrCreateRequest) -> Any:
        secret_id = self.world.new_id("st")
        self.world.secrets[secret_id] = dict(request.env_dict)
        metadata = pb.SecretMetadata(keys=sorted(request.env_dict))
        return pb.SecretGetOrCreateResponse(secret_id=secret_id, metadata=metadata)

    async def ImageGetOrCreate(self, request: pb.ImageGetOrCreateRequest) -> Any:
        definition = request.image.SerializeToString(deterministic=True)
        digest = hashlib.sha256(definition).digest()
        image_id = self.world.images.setdefault(digest, self.world.new_id("im"))
        built = self.world.built.setdefault(image_id, time.time() + self.world.image_build)
        result = BUILT if built <= time.time() else None
        return pb.ImageGetOrCreateResponse(image_id=image_id, result=result)

    async def ImageFromId(self, request: pb.ImageFromIdRequest) -> Any:
        known = self.world.images.values()
        if request.image_id not in known and request.image_id not in self.world.snapshots:
            raise GRPCError(Status.NOT_FOUND, f"Image {request.image_id} not found")
        return pb.ImageFromIdResponse(image_id=request.image_id)

    async def ImageJoinStreaming(self, request: Any) -> AsyncIterator[Any]:
        """A line of the build's log, and the result once it is there."""
        entry = int(request.last_entry_id or "0") + 1
        log = pb.TaskLogs(data=f"step {entry}\n")
        yield pb.ImageJoinStreamingResponse(task_logs=[log], entry_id=str(entry))
        left = self.world.built[request.image_id] - time.time()
        await asyncio.sleep(max(0.0, min(left, request.timeout)))
        if left <= request.timeout:
            yield pb.ImageJoinStreamingResponse(result=BUILT)

    async def SandboxCreate(self, request: pb.SandboxCreateRequest) -> Any:
        for secret_id in request.definition.secret_ids:
            if secret_id not in self.world.secrets:
                raise GRPCError(Status.NOT_FOUND, f"Secret {secret_id} not found")
        sandbox = self.create(request, v2=False)
        metadata = pb.SandboxHandleMetadata(app_id=request.app_id)
        return pb.SandboxCreateResponse(sandbox_id=sandbox.id, metadata=metadata)

    async def SandboxCreateV2(self, request: pb.SandboxCreateV2Request) -> Any:
        sandbox = self.create(request, v2=True)
        return pb.SandboxCreateV2Response(
            sandbox_id=sandbox.id,
            task_id=sandbox.task_id,
            metadata=pb.SandboxHandleMetadata(app_id=request.app_id),
            command_router_access=self.access(),
            sandbox_token=sandbox.token,
        )

    def create(self, request: Any, v2: bool) -> Sandbox:
        if request.app_id not in self.world.apps.values():
            raise GRPCError(Status.NOT_FOUND, f"App {request.app_id} not found")
        image_id = request.definition.image_id
        if image_id not in self.world.images.values() and image_id not in self.world.snapshots:
            raise GRPCError(Status.NOT_FOUND, f"Image {image_id} not found")
        name = request.definition.name
        if self.world.name_is_taken(request.app_id, name):
            raise GRPCError(Status.ALREADY_EXISTS, f"Sandbox with name '{name}' already exists")
        return self.world.create(request.definition, request.app_id, request.tags, v2)

    async def SandboxGetTaskId(self, request: pb.SandboxGetTaskIdRequest) -> Any:
        sandbox = self.sandbox(request.sandbox_id)
        if sandbox.is_scheduled():
            return pb.SandboxGetTaskIdResponse(task_id=sandbox.task_id)
        return pb.SandboxGetTaskIdResponse(task_result=sandbox.result)

    SandboxGetTaskIdV2 = SandboxGetTaskId

    async def SandboxWait(self, request: pb.SandboxWaitRequest) -> Any:
        sandbox = self.sandbox(request.sandbox_id)
        if request.timeout and sandbox.result is None:
            try:
                await asyncio.wait_for(sandbox.ended.wait(), request.timeout)
            except asyncio.TimeoutError:
                pass
        metadata = pb.SandboxHandleMetadata(app_id=sandbox.app_id)
        return pb.SandboxWaitResponse(result=sandbox.result, metadata=metadata)

    SandboxWaitV2 = SandboxWait

    async def SandboxTerminate(self, request: pb.SandboxTerminateRequest) -> Any:
        sandbox = self.sandbox(request.sandbox_id)
        before = sandbox.result
        sandbox.terminate()
        return pb.SandboxTerminateResponse(existing_result=before)

    SandboxTerminateV2 = SandboxTerminate

    async def SandboxTagsSet(self, request: pb.SandboxTagsSetRequest) -> Any:
        sandbox = self.sandbox(request.sandbox_id)
        sandbox.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    SandboxTagsSetV2 = SandboxTagsSet

    async def SandboxTagsGet(self, request: pb.SandboxTagsGetRequest) -> Any:
        tags = self.sandbox(request.sandbox_id).tags.items()
        return pb.SandboxTagsGetResponse(
            tags=[pb.SandboxTag(tag_name=name, tag_value=value) for name, value in tags]
        )

    SandboxTagsGetV2 = SandboxTagsGet

    async def SandboxGetFromName(self, request: pb.SandboxGetFromNameRequest) -> Any:
        app_id = self.world.apps.get((request.environment_name, request.app_name), "")
        sandbox = self.world.names.get((app_id, request.sandbox_name))
        if sandbox is None or sandbox.result is not None:
            message = f"Sandbox with name '{request.sandbox_name}' not found"
            raise GRPCError(Status.NOT_FOUND, message)
        metadata = pb.SandboxHandleMetadata(app_id=sandbox.app_id)
        return pb.SandboxGetFromNameResponse(sandbox_id=sandbox.id, metadata=metadata)

    SandboxGetFromNameV2 = SandboxGetFromName

    async def SandboxListV2(self, request: pb.SandboxListRequest) -> Any:
        wanted = {(tag.tag_name, tag.tag_value) for tag in request.tags}
        before = request.before_timestamp or float("inf")
        found = [
            sandbox
            for sandbox in self.world.sandboxes.values()
            if request.app_id in ("", sandbox.app_id)
            and sandbox.created_at < before
            and (request.include_finished or sandbox.result is None)
            and wanted <= set(sandbox.tags.items())
        ]
        found.sort(key=lambda sandbox: sandbox.created_at, reverse=True)
        return pb.SandboxListResponse(sandboxes=[self.info(sandbox) for sandbox in found[: self.world.page]])

    def info(self, sandbox: Sandbox) -> pb.SandboxInfo:
        return pb.SandboxInfo(
            id=sandbox.id,
            created_at=sandbox.created_at,
            app_id=sandbox.app_id,
            name=sandbox.name,
            tags=[pb.SandboxTag(tag_name=name, tag_value=value) for name, value in sandbox.tags.items()],
            task_info=pb.TaskInfo(
                id=sandbox.task_id,
                started_at=sandbox.created_at,
                finished_at=sandbox.ended_at or 0.0,
                result=sandbox.result,
            ),
            metadata=pb.SandboxHandleMetadata(app_id=sandbox.app_id, result=sandbox.result),
        )

    def access(self) -> pb.CommandRouterAccess:
        token = self.world.new_router_token()
        return pb.CommandRouterAccess(jwt=token, url=self.world.router_url)

    async def SandboxGetCommandRouterAccess(self, request: Any) -> Any:
        self.sandbox(request.sandbox_id)
        access = self.access()
        return pb.SandboxGetCommandRouterAccessResponse(jwt=access.jwt, url=access.url)

    async def TaskGetCommandRouterAccess(self, request: Any) -> Any:
        if request.task_id not in self.world.tasks:
            raise GRPCError(Status.NOT_FOUND, f"Task {request.task_id} not found")
        access = self.access()
        return pb.TaskGetCommandRouterAccessResponse(jwt=access.jwt, url=access.url)

    async def SandboxGetLogs(self, request: pb.SandboxGetLogsRequest) -> AsyncIterator[Any]:
        """One entry holds all; the end of the output is an entry of its own."""
        sandbox = self.sandbox(request.sandbox_id)
        stderr = request.file_descriptor == pb.FILE_DESCRIPTOR_STDERR
        text = sandbox.script.stderr if stderr else sandbox.script.stdout
        if text and not request.last_entry_id:
            item = pb.TaskLogs(data=text, file_descriptor=request.file_descriptor)
            yield pb.TaskLogsBatch(items=[item], entry_id="1-0")
        try:
            await asyncio.wait_for(sandbox.ended.wait(), request.timeout)
        except asyncio.TimeoutError:
            return
        yield pb.TaskLogsBatch(eof=True)


class CommandRouter:
    """The service TaskCommandRouter."""

    def __init__(self, world: World) -> None:
        self.world = world

    def sandbox(self, task_id: str) -> Sandbox:
        sandbox = self.world.tasks.get(task_id)
        if sandbox is None:
            raise GRPCError(Status.NOT_FOUND, f"Task {task_id} not found")
        return sandbox

    def running(self, task_id: str) -> Sandbox:
        sandbox = self.sandbox(task_id)
        if sandbox.result is not None:
            raise GRPCError(Status.NOT_FOUND, f"Task {task_id} has ended")
        return sandbox

    def command(self, request: Any) -> commands.Command:
        command = self.running(request.task_id).commands.get(request.exec_id)
        if command is None:
            raise GRPCError(Status.NOT_FOUND, f"Exec {request.exec_id} not found")
        return command

    async def SandboxStdioReadV2(self, request: Any) -> AsyncIterator[Any]:
        sandbox = self.sandbox(request.task_id)
        stderr = request.file_descriptor == router_pb.SANDBOX_STDIO_FILE_DESCRIPTOR_STDERR
        data = (sandbox.script.stderr if stderr else sandbox.script.stdout).encode()
        rest = data[request.offset :]
        if rest:
            yield router_pb.SandboxStdioReadV2Response(data=rest, starting_offset=request.offset)
        await sandbox.ended.wait()

    async def TaskExecStart(self, request: Any) -> Any:
        sandbox = self.running(request.task_id)
        if request.exec_id not in sandbox.commands:
            command = await commands.start(request, sandbox.directory)
            sandbox.commands[request.exec_id] = command
        return router_pb.TaskExecStartResponse()

    async def TaskExecStdioRead(self, request: Any) -> AsyncIterator[Any]:
        command = self.command(request)
        stderr = request.file_descriptor == router_pb.TASK_EXEC_STDIO_FILE_DESCRIPTOR_STDERR
        output = command.stderr if stderr else command.stdout
        async for piece in output.read(request.offset):
            yield router_pb.TaskExecStdioReadResponse(data=piece)

    async def TaskExecPoll(self, request: Any) -> Any:
        return router_pb.TaskExecPollResponse(**self.command(request).exit_status())

    async def TaskExecWait(self, request: Any) -> Any:
        command = self.command(request)
        await command.ended.wait()
        return router_pb.TaskExecWaitResponse(**command.exit_status())

    async def TaskExecStdinWrite(self, request: Any) -> Any:
        command = self.command(request)
        await command.input.write(request.offset, request.data, request.eof)
        return router_pb.TaskExecStdinWriteResponse()

    async def TaskExecStdinStatus(self, request: Any) -> Any:
        taken = self.command(request).input
        taken.generation += 1
        return router_pb.TaskExecStdinStatusResponse(
            num_bytes_written=taken.taken, closed=taken.is_closed
        )

    async def TaskExecStdinWriteStream(self, requests: AsyncIterator[Any]) -> Any:
        """A stream that ends without saying so leaves the input open."""
        start = (await anext(requests)).start
        command = self.command(start)
        generation, offset = command.input.generation, start.offset
        async for request in requests:
            if command.input.generation != generation:
                raise GRPCError(Status.CANCELLED, "Another stream has taken over")
            is_last = request.WhichOneof("payload") == "end"
            await command.input.write(offset, request.data, is_last)
            offset += len(request.data)
        return router_pb.TaskExecStdinWriteStreamResponse()

    async def TaskSnapshotFilesystem(self, request: Any) -> Any:
        sandbox = self.running(request.task_id)
        kept = self.world.snapshot_ids
        if request.snapshot_id not in kept:
            kept[request.snapshot_id] = self.world.new_id("im")
            place = self.world.place / kept[request.snapshot_id]
            commands.keep(sandbox.directory, place)
            self.world.snapshots[kept[request.snapshot_id]] = place
        return router_pb.TaskSnapshotFilesystemResponse(image_id=kept[request.snapshot_id])
