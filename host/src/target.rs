//! Where a plugin sends its requests, and what it may ask for there.

use crate::credentials::modal::TokenPair;
use flavor_policy::{
    FieldPath, Grant, GrantError, GrpcAccess, KeySource, Label, LearnRule, MethodName, Methods,
    NameError, Origin, Policy, Scheme, ServiceName,
};

/// Modal's own control plane.
pub const MODAL_URL: &str = "https://api.modal.com";

/// Label of the credential in grants for Modal.
pub(crate) const MODAL_CREDENTIAL: &str = "modal";

/// A Modal server, and the account to use there.
#[derive(Debug, Clone)]
pub struct Target {
    origin: Origin,
    credentials: TokenPair,
}

/// Why a URL is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// It names no server.
    #[error("`{url}` is not the URL of a server: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule of this table is malformed: a defect.
    #[error(transparent)]
    Name(#[from] NameError),
    /// As above.
    #[error(transparent)]
    Grant(#[from] GrantError),
}

impl Target {
    /// The Modal server at a URL of the form `https://HOST` or
    /// `http://HOST:PORT`. Naming it here grants requests to it, also when it
    /// is on this machine or in a private network.
    ///
    /// # Errors
    ///
    /// When the URL names no server.
    pub fn new(url: &str, credentials: TokenPair) -> Result<Self, TargetError> {
        let origin = url.parse().map_err(|error| TargetError::Url {
            url: url.to_owned(),
            reason: format!("{error}"),
        })?;
        Ok(Self {
            origin,
            credentials,
        })
    }

    /// Modal's cloud.
    ///
    /// # Errors
    ///
    /// Never in fact: the URL is a constant.
    pub fn modal(credentials: TokenPair) -> Result<Self, TargetError> {
        Self::new(MODAL_URL, credentials)
    }

    /// The URL, in its normal form.
    pub fn url(&self) -> String {
        self.origin.to_string()
    }

    /// The account.
    pub fn credentials(&self) -> &TokenPair {
        &self.credentials
    }

    /// What a plugin may ask for: the operations that Modal's flavors need, and
    /// those of the command routers that answers name.
    ///
    /// # Errors
    ///
    /// Never in fact: all names are constants.
    pub fn policy(&self) -> Result<Policy, TargetError> {
        let methods = CONTROL_PLANE_METHODS
            .iter()
            .map(|name| name.parse::<MethodName>())
            .collect::<Result<Vec<_>, _>>()?;
        let service: ServiceName = CONTROL_PLANE.parse()?;
        let mut access = GrpcAccess::new(service, Methods::only(methods)?);
        for (lane, methods) in LANES {
            for method in methods {
                access = access.with_lane(method.parse()?, lane.parse()?)?;
            }
        }
        let mut grant = Grant::new(self.origin.clone(), flavor_policy::Access::Grpc(access))
            .with_credential(MODAL_CREDENTIAL.parse()?);
        if names_private_host(&self.origin) {
            grant = grant.with_private();
        }
        for (method, url, key) in ROUTER_RULES {
            let router: ServiceName = COMMAND_ROUTER.parse()?;
            let methods = ROUTER_METHODS
                .iter()
                .map(|name| name.parse::<MethodName>())
                .collect::<Result<Vec<_>, _>>()?;
            let mut grpc = GrpcAccess::new(router, Methods::only(methods)?);
            for (lane, methods) in ROUTER_LANES {
                for method in methods {
                    grpc = grpc.with_lane(method.parse()?, lane.parse()?)?;
                }
            }
            grant = grant.with_learn(LearnRule {
                method: method.parse()?,
                url: url.parse::<FieldPath>()?,
                key: key.parse::<KeySource>()?,
                grpc,
            })?;
        }
        Ok(Policy::new([grant]))
    }

    /// The label under which the credentials stand in grants.
    ///
    /// # Errors
    ///
    /// Never in fact: it is a constant.
    pub(crate) fn credential_label() -> Result<Label, TargetError> {
        Ok(MODAL_CREDENTIAL.parse()?)
    }
}

const CONTROL_PLANE: &str = "modal.client.ModalClient";
const COMMAND_ROUTER: &str = "modal.task_command_router.TaskCommandRouter";

/// Lanes: long polls and streams must not keep other calls waiting.
const WAITS: &str = "waits";
const OUTPUTS: &str = "outputs";

const LANES: [(&str, &[&str]); 2] = [
    (WAITS, &["SandboxWait", "SandboxWaitV2"]),
    (OUTPUTS, &["SandboxGetLogs"]),
];

const CONTROL_PLANE_METHODS: [&str; 25] = [
    "AppGetOrCreate",
    "AuthTokenGet",
    "EnvironmentGetOrCreate",
    "ImageFromId",
    "ImageGetOrCreate",
    "ImageJoinStreaming",
    "SandboxCreate",
    "SandboxCreateV2",
    "SandboxGetCommandRouterAccess",
    "SandboxGetFromName",
    "SandboxGetFromNameV2",
    "SandboxGetLogs",
    "SandboxGetTaskId",
    "SandboxGetTaskIdV2",
    "SandboxListV2",
    "SandboxTagsGet",
    "SandboxTagsGetV2",
    "SandboxTagsSet",
    "SandboxTagsSetV2",
    "SandboxTerminate",
    "SandboxTerminateV2",
    "SandboxWait",
    "SandboxWaitV2",
    "SecretGetOrCreate",
    "TaskGetCommandRouterAccess",
];

/// Lane of data on their way into commands and files: a consumer that is slow to
/// take them must not hold up other calls.
const INPUTS: &str = "inputs";

const ROUTER_LANES: [(&str, &[&str]); 3] = [
    (WAITS, &["TaskExecWait"]),
    (OUTPUTS, &["SandboxStdioReadV2", "TaskExecStdioRead"]),
    (INPUTS, &["TaskExecStdinWrite", "TaskExecStdinWriteStream"]),
];

const ROUTER_METHODS: [&str; 9] = [
    "SandboxStdioReadV2",
    "TaskExecPoll",
    "TaskExecStart",
    "TaskExecStdinStatus",
    "TaskExecStdinWrite",
    "TaskExecStdinWriteStream",
    "TaskExecStdioRead",
    "TaskExecWait",
    "TaskSnapshotFilesystem",
];

/// Where answers name a command router: the method, the field of its URL, and
/// the field of the sandbox or task it belongs to.
const ROUTER_RULES: [(&str, &str, &str); 3] = [
    ("SandboxCreateV2", "5.2", "response:1"),
    ("SandboxGetCommandRouterAccess", "2", "request:1"),
    ("TaskGetCommandRouterAccess", "2", "request:1"),
];

/// A user who names a private server means it. A name may lead anywhere, and
/// whether it leads into a private network is only known later; only names that
/// say so themselves count.
fn names_private_host(origin: &Origin) -> bool {
    let host = origin.host();
    host.is_loopback() || host.address().is_some() || origin.scheme() == Scheme::Http
}
