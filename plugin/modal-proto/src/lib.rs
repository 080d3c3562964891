//! Modal's wire protocol, as far as the flavors and the local Modal use it:
//! the control plane in [`client`], the worker plane in [`task_command_router`].
//!
//! Field and enum numbers were read off the traffic of the official Python SDK
//! 1.6.4; golden bytes in the tests below hold them in place.

/// Package `modal.client`: the control plane, service `ModalClient`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "generated code"
)]
pub mod client {
    tonic::include_proto!("modal.client");
}

/// Package `modal.task_command_router`: commands, files and output of one
/// sandbox, service `TaskCommandRouter`.
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "generated code"
)]
pub mod task_command_router {
    tonic::include_proto!("modal.task_command_router");
}

/// gRPC service name of the control plane.
pub const CONTROL_PLANE: &str = "modal.client.ModalClient";

/// gRPC service name of the worker plane.
pub const COMMAND_ROUTER: &str = "modal.task_command_router.TaskCommandRouter";

/// Type name of the server-directed wait inside `grpc-status-details-bin`.
/// Clients accept any URL prefix before it.
pub const RETRY_POLICY_TYPE: &str = "modal.client.RPCRetryPolicy";

#[cfg(test)]
mod tests {
    use super::client::{
        self, AppGetOrCreateRequest, GpuConfig, NetworkAccess, PortSpecs, Resources,
        RpcRetryPolicy, RpcStatus, Sandbox, SandboxCreateV2Request, SandboxWaitRequest,
        SchedulerPlacement, SecretSource, StringMap, network_access::NetworkAccessType,
        sandbox::OpenPortsOneof, secret_source::Source,
    };
    use super::task_command_router::{
        TaskExecPollResponse, TaskExecStartRequest, TaskExecWaitResponse,
        TaskSnapshotFilesystemRequest, task_exec_wait_response::ExitStatus,
    };
    use prost::Message;

    fn hex(message: &impl Message) -> String {
        message
            .encode_to_vec()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn env(key: &str, value: &str) -> SecretSource {
        SecretSource {
            source: Some(Source::Env(StringMap {
                contents: [(key.to_owned(), value.to_owned())].into(),
            })),
        }
    }

    #[test]
    fn control_plane_bytes() {
        let app = AppGetOrCreateRequest {
            app_name: "zenml-app".into(),
            environment_name: "staging".into(),
            object_creation_type: client::ObjectCreationType::CreateIfMissing.into(),
        };
        assert_eq!(hex(&app), "0a097a656e6d6c2d617070120773746167696e671801");

        let gpu = GpuConfig {
            count: 2,
            gpu_type: "A100".into(),
            ..GpuConfig::default()
        };
        assert_eq!(hex(&gpu), "1002220441313030");

        let resources = Resources {
            memory_mb: 2048,
            milli_cpu: 2000,
            gpu_config: Some(gpu),
            ..Resources::default()
        };
        assert_eq!(hex(&resources), "10801018d00f22081002220441313030");

        let wait = SandboxWaitRequest {
            sandbox_id: "sb-1".into(),
            timeout: 10.0,
        };
        assert_eq!(hex(&wait), "0a0473622d311500002041");
    }

    #[test]
    fn create_bytes() {
        let create = SandboxCreateV2Request {
            app_id: "ap-1".into(),
            definition: Some(Sandbox {
                entrypoint_args: vec!["sleep".into(), "100".into()],
                image_id: "im-1".into(),
                resources: Some(Resources {
                    memory_mb: 2048,
                    milli_cpu: 2000,
                    gpu_config: Some(GpuConfig::default()),
                    ..Resources::default()
                }),
                timeout_secs: 3600,
                scheduler_placement: Some(SchedulerPlacement {
                    regions: vec!["us-east-1".into()],
                    ..SchedulerPlacement::default()
                }),
                open_ports_oneof: Some(OpenPortsOneof::OpenPorts(PortSpecs::default())),
                network_access: Some(NetworkAccess {
                    network_access_type: NetworkAccessType::Open.into(),
                    ..NetworkAccess::default()
                }),
                cloud_provider_str: "aws".into(),
                ..Sandbox::default()
            }),
            secret_sources: vec![env("A", "1")],
            ..SandboxCreateV2Request::default()
        };
        assert_eq!(
            hex(&create),
            "0a0461702d31123b0a05736c6565700a033130301a04696d2d312a0810801018d00f2200\
             38901c8a010b220975732d656173742d31a20100b201020801d20103617773320a12080a\
             060a0141120131"
        );
    }

    #[test]
    fn router_bytes() {
        let start = TaskExecStartRequest {
            task_id: "ta-1".into(),
            exec_id: "e-1".into(),
            command_args: vec!["echo".into(), "hi".into()],
            stdout_config: 1,
            stderr_config: 1,
            workdir: Some("/tmp".into()),
            secret_sources: vec![env("X", "y")],
            ..TaskExecStartRequest::default()
        };
        assert_eq!(
            hex(&start),
            "0a0474612d311203652d311a046563686f1a026869200128013a042f746d706a0a12080a060a0158120179"
        );
        let wait = |exit_status| TaskExecWaitResponse {
            exit_status: Some(exit_status),
        };
        assert_eq!(hex(&wait(ExitStatus::Code(0))), "0800");
        assert_eq!(hex(&wait(ExitStatus::Signal(9))), "1009");
        assert_eq!(hex(&TaskExecPollResponse::default()), "");
        let snapshot = TaskSnapshotFilesystemRequest {
            task_id: "ta-1".into(),
            snapshot_id: "u".into(),
            ttl_seconds: Some(-1),
            ..TaskSnapshotFilesystemRequest::default()
        };
        assert_eq!(hex(&snapshot), "0a0474612d3112017518ffffffffffffffffff01");
    }

    #[test]
    fn server_directed_wait_bytes() {
        let status = RpcStatus {
            code: 8,
            message: "slow down".into(),
            details: vec![prost_types::Any {
                type_url: format!("type.modal.com/{}", super::RETRY_POLICY_TYPE),
                value: RpcRetryPolicy {
                    retry_after_secs: 0.5,
                }
                .encode_to_vec(),
            }],
        };
        assert_eq!(
            hex(&status),
            "08081209736c6f7720646f776e1a330a2a747970652e6d6f64616c2e636f6d2f6d6f6461\
             6c2e636c69656e742e5250435265747279506f6c69637912050d0000003f"
        );
    }
}
