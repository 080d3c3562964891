//! The table of Modal's operations that the plugin uses.

use modal_proto::client::{
    AppGetOrCreateRequest, AppGetOrCreateResponse, AuthTokenGetRequest, AuthTokenGetResponse,
    EnvironmentGetOrCreateRequest, EnvironmentGetOrCreateResponse, ImageFromIdRequest,
    ImageFromIdResponse, ImageGetOrCreateRequest, ImageGetOrCreateResponse,
    ImageJoinStreamingRequest, ImageJoinStreamingResponse, SandboxCreateRequest,
    SandboxCreateResponse, SandboxCreateV2Request, SandboxCreateV2Response,
    SandboxGetCommandRouterAccessRequest, SandboxGetCommandRouterAccessResponse,
    SandboxGetFromNameRequest, SandboxGetFromNameResponse, SandboxGetLogsRequest,
    SandboxGetTaskIdRequest, SandboxGetTaskIdResponse, SandboxListRequest, SandboxListResponse,
    SandboxTagsGetRequest, SandboxTagsGetResponse, SandboxTagsSetRequest, SandboxTerminateRequest,
    SandboxTerminateResponse, SandboxWaitRequest, SandboxWaitResponse, SecretGetOrCreateRequest,
    SecretGetOrCreateResponse, TaskGetCommandRouterAccessRequest,
    TaskGetCommandRouterAccessResponse, TaskLogsBatch,
};
use modal_proto::task_command_router::{
    SandboxStdioReadV2Request, SandboxStdioReadV2Response, TaskExecPollRequest,
    TaskExecPollResponse, TaskExecStartRequest, TaskExecStartResponse, TaskExecStdinStatusRequest,
    TaskExecStdinStatusResponse, TaskExecStdinWriteRequest, TaskExecStdinWriteResponse,
    TaskExecStdinWriteStreamRequest, TaskExecStdinWriteStreamResponse, TaskExecStdioReadRequest,
    TaskExecStdioReadResponse, TaskExecWaitRequest, TaskExecWaitResponse,
    TaskSnapshotFilesystemRequest, TaskSnapshotFilesystemResponse,
};
use std::marker::PhantomData;

/// One operation: its path and the messages that belong to it.
#[derive(Debug)]
pub struct Rpc<Q, A> {
    /// The operation's own name, as errors give it.
    pub name: &'static str,
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// How the caller proves who it is.
    pub auth: Auth,
    messages: PhantomData<fn(Q) -> A>,
}

/// How the caller of an operation proves who it is. Token id and secret are the
/// host's to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Token id and secret only.
    TokenPair,
    /// The short-lived token besides: the newer sandbox backend.
    AuthToken,
    /// A token of one sandbox, at its command router.
    Router,
}

macro_rules! rpcs {
    ($($(#[$doc:meta])* $constant:ident: $service:literal $name:literal, $auth:ident, $request:ty => $answer:ty;)*) => {
        $(
            $(#[$doc])*
            pub const $constant: Rpc<$request, $answer> = Rpc {
                name: $name,
                path: concat!("/", $service, "/", $name),
                auth: Auth::$auth,
                messages: PhantomData,
            };
        )*
    };
}

rpcs! {
    /// Fetches the short-lived token.
    AUTH_TOKEN_GET: "modal.client.ModalClient" "AuthTokenGet", TokenPair, AuthTokenGetRequest => AuthTokenGetResponse;
    /// Finds an app by name, creates it if asked to.
    APP_GET_OR_CREATE: "modal.client.ModalClient" "AppGetOrCreate", TokenPair, AppGetOrCreateRequest => AppGetOrCreateResponse;
    /// Finds an environment; tells its image builder version.
    ENVIRONMENT_GET_OR_CREATE: "modal.client.ModalClient" "EnvironmentGetOrCreate", TokenPair, EnvironmentGetOrCreateRequest => EnvironmentGetOrCreateResponse;
    /// Stores a secret.
    SECRET_GET_OR_CREATE: "modal.client.ModalClient" "SecretGetOrCreate", TokenPair, SecretGetOrCreateRequest => SecretGetOrCreateResponse;
    /// Finds or builds an image.
    IMAGE_GET_OR_CREATE: "modal.client.ModalClient" "ImageGetOrCreate", TokenPair, ImageGetOrCreateRequest => ImageGetOrCreateResponse;
    /// Follows the build of an image.
    IMAGE_JOIN_STREAMING: "modal.client.ModalClient" "ImageJoinStreaming", TokenPair, ImageJoinStreamingRequest => ImageJoinStreamingResponse;
    /// Looks an image up by its id.
    IMAGE_FROM_ID: "modal.client.ModalClient" "ImageFromId", TokenPair, ImageFromIdRequest => ImageFromIdResponse;
    /// Creates a sandbox with a GPU (older backend).
    SANDBOX_CREATE: "modal.client.ModalClient" "SandboxCreate", TokenPair, SandboxCreateRequest => SandboxCreateResponse;
    /// Creates a sandbox without a GPU (newer backend).
    SANDBOX_CREATE_V2: "modal.client.ModalClient" "SandboxCreateV2", AuthToken, SandboxCreateV2Request => SandboxCreateV2Response;
    /// Tells the task of a sandbox once it is scheduled.
    SANDBOX_GET_TASK_ID: "modal.client.ModalClient" "SandboxGetTaskId", TokenPair, SandboxGetTaskIdRequest => SandboxGetTaskIdResponse;
    /// The same for the newer backend.
    SANDBOX_GET_TASK_ID_V2: "modal.client.ModalClient" "SandboxGetTaskIdV2", AuthToken, SandboxGetTaskIdRequest => SandboxGetTaskIdResponse;
    /// Waits for the end of a sandbox.
    SANDBOX_WAIT: "modal.client.ModalClient" "SandboxWait", TokenPair, SandboxWaitRequest => SandboxWaitResponse;
    /// The same for the newer backend.
    SANDBOX_WAIT_V2: "modal.client.ModalClient" "SandboxWaitV2", AuthToken, SandboxWaitRequest => SandboxWaitResponse;
    /// Ends a sandbox.
    SANDBOX_TERMINATE: "modal.client.ModalClient" "SandboxTerminate", TokenPair, SandboxTerminateRequest => SandboxTerminateResponse;
    /// The same for the newer backend.
    SANDBOX_TERMINATE_V2: "modal.client.ModalClient" "SandboxTerminateV2", AuthToken, SandboxTerminateRequest => SandboxTerminateResponse;
    /// Lists sandboxes of both backends.
    SANDBOX_LIST_V2: "modal.client.ModalClient" "SandboxListV2", AuthToken, SandboxListRequest => SandboxListResponse;
    /// Finds a running sandbox by its name.
    SANDBOX_GET_FROM_NAME: "modal.client.ModalClient" "SandboxGetFromName", TokenPair, SandboxGetFromNameRequest => SandboxGetFromNameResponse;
    /// The same for the newer backend.
    SANDBOX_GET_FROM_NAME_V2: "modal.client.ModalClient" "SandboxGetFromNameV2", AuthToken, SandboxGetFromNameRequest => SandboxGetFromNameResponse;
    /// Replaces the tags of a sandbox.
    SANDBOX_TAGS_SET: "modal.client.ModalClient" "SandboxTagsSet", TokenPair, SandboxTagsSetRequest => ();
    /// The same for the newer backend.
    SANDBOX_TAGS_SET_V2: "modal.client.ModalClient" "SandboxTagsSetV2", AuthToken, SandboxTagsSetRequest => ();
    /// Tells the tags of a sandbox.
    SANDBOX_TAGS_GET: "modal.client.ModalClient" "SandboxTagsGet", TokenPair, SandboxTagsGetRequest => SandboxTagsGetResponse;
    /// The same for the newer backend.
    SANDBOX_TAGS_GET_V2: "modal.client.ModalClient" "SandboxTagsGetV2", AuthToken, SandboxTagsGetRequest => SandboxTagsGetResponse;
    /// Follows the output of a sandbox of the older backend.
    SANDBOX_GET_LOGS: "modal.client.ModalClient" "SandboxGetLogs", TokenPair, SandboxGetLogsRequest => TaskLogsBatch;
    /// Tells where the command router of a sandbox is.
    SANDBOX_GET_COMMAND_ROUTER_ACCESS: "modal.client.ModalClient" "SandboxGetCommandRouterAccess", AuthToken, SandboxGetCommandRouterAccessRequest => SandboxGetCommandRouterAccessResponse;
    /// The same for a task of the older backend.
    TASK_GET_COMMAND_ROUTER_ACCESS: "modal.client.ModalClient" "TaskGetCommandRouterAccess", TokenPair, TaskGetCommandRouterAccessRequest => TaskGetCommandRouterAccessResponse;
    /// Follows the output of a sandbox of the newer backend.
    SANDBOX_STDIO_READ_V2: "modal.task_command_router.TaskCommandRouter" "SandboxStdioReadV2", Router, SandboxStdioReadV2Request => SandboxStdioReadV2Response;
    /// Starts a command. The same once only under one id.
    TASK_EXEC_START: "modal.task_command_router.TaskCommandRouter" "TaskExecStart", Router, TaskExecStartRequest => TaskExecStartResponse;
    /// Tells whether a command has ended.
    TASK_EXEC_POLL: "modal.task_command_router.TaskCommandRouter" "TaskExecPoll", Router, TaskExecPollRequest => TaskExecPollResponse;
    /// Waits for the end of a command.
    TASK_EXEC_WAIT: "modal.task_command_router.TaskCommandRouter" "TaskExecWait", Router, TaskExecWaitRequest => TaskExecWaitResponse;
    /// Follows one output of a command.
    TASK_EXEC_STDIO_READ: "modal.task_command_router.TaskCommandRouter" "TaskExecStdioRead", Router, TaskExecStdioReadRequest => TaskExecStdioReadResponse;
    /// Writes a piece of a command's input.
    TASK_EXEC_STDIN_WRITE: "modal.task_command_router.TaskCommandRouter" "TaskExecStdinWrite", Router, TaskExecStdinWriteRequest => TaskExecStdinWriteResponse;
    /// Writes a command's input in one stream.
    TASK_EXEC_STDIN_WRITE_STREAM: "modal.task_command_router.TaskCommandRouter" "TaskExecStdinWriteStream", Router, TaskExecStdinWriteStreamRequest => TaskExecStdinWriteStreamResponse;
    /// Tells how much of a command's input has been taken.
    TASK_EXEC_STDIN_STATUS: "modal.task_command_router.TaskCommandRouter" "TaskExecStdinStatus", Router, TaskExecStdinStatusRequest => TaskExecStdinStatusResponse;
    /// Keeps the files of a task as an image. The same once only under one id.
    TASK_SNAPSHOT_FILESYSTEM: "modal.task_command_router.TaskCommandRouter" "TaskSnapshotFilesystem", Router, TaskSnapshotFilesystemRequest => TaskSnapshotFilesystemResponse;
}
