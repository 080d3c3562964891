//! How a plugin reaches its service for somebody: server, account, configuration.

use crate::contract::{self, RegistryCredentials, Service};
use crate::credentials::modal::{TokenError, TokenPair};
use crate::credentials::{Concealed, Credentials, Secret, conceal};
use crate::error::Error;
use crate::guest::Grants;
use crate::host::Host;
use crate::http::{Gate, GateOptions};
use crate::log::GuestLog;
use crate::redact::Redactor;
use crate::run::StartError;
use crate::surroundings::Surroundings;
use crate::target::Target;
use flavor_policy::Refusal;
use serde_json::{Map, Value};
use std::sync::Arc;

/// What calls to a service have in common: where it is, who asks, and how the
/// component that asks is configured.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The Modal server, and the account there.
    pub target: Target,
    /// Configuration of the component. Credentials in it take the place of the
    /// target's; the plugin sees opaque texts.
    pub config: Value,
    /// Login of one image registry.
    pub registry: Option<RegistryCredentials>,
    /// Options of the plugin's client for the service.
    pub service_options: Map<String, Value>,
    /// What the plugin may use of the network.
    pub network: flavor_policy::Limits,
    /// The grant `forward-credentials`: the plugin gets the account itself, to hand it
    /// on. A controller in a sandbox needs it, unless its environment holds one.
    pub forward_credentials: bool,
}

impl Connection {
    /// A connection with default settings.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            config: Value::Object(Map::new()),
            registry: None,
            service_options: Map::new(),
            network: flavor_policy::Limits::default(),
            forward_credentials: false,
        }
    }

    /// Makes ready what an instance needs.
    pub(crate) fn open(self, host: &Host) -> Result<Opened, StartError> {
        let policy = self.target.policy()?;
        let Concealed { document, taken } = conceal(self.config);
        let credentials = match explicit_pair(&taken)? {
            Some(pair) => pair,
            None => self.target.credentials().clone(),
        };
        let redactor = Redactor::new(secrets(&credentials, self.registry.as_ref()));
        let log = Arc::new(GuestLog::new(redactor.clone(), host.limits()));
        let label = Target::credential_label()?;
        let forwardable = self.forward_credentials.then(|| credentials.clone());
        let gate = Gate::new(GateOptions {
            policy,
            limits: self.network,
            credentials: Credentials::new(vec![credentials.credential(label)]),
            resolver: host.resolver(),
            log: Arc::clone(&log),
            surroundings: host.surroundings().clone(),
        });
        Ok(Opened {
            service: Service {
                url: self.target.url(),
                options: Value::Object(self.service_options).to_string(),
            },
            config: document.to_string(),
            registry: self.registry,
            gate,
            forwardable,
            redactor,
            log,
            surroundings: host.surroundings().clone(),
        })
    }
}

/// A connection that one instance uses.
pub(crate) struct Opened {
    /// What the plugin is told of the service.
    pub(crate) service: Service,
    /// What the plugin is told of the configuration.
    pub(crate) config: String,
    pub(crate) registry: Option<RegistryCredentials>,
    pub(crate) gate: Gate,
    pub(crate) forwardable: Option<TokenPair>,
    pub(crate) redactor: Redactor,
    pub(crate) log: Arc<GuestLog>,
    pub(crate) surroundings: Surroundings,
}

impl Opened {
    /// What an instance without a run may reach.
    pub(crate) fn grants(&self) -> Grants {
        Grants {
            gate: self.gate.clone(),
            run: None,
            forwardable: self.forwardable.clone(),
            log: Arc::clone(&self.log),
            surroundings: self.surroundings.clone(),
        }
    }

    /// Makes errors of the instance fit to be shown.
    pub(crate) fn voice(&self) -> Voice {
        Voice {
            gate: self.gate.clone(),
            redactor: self.redactor.clone(),
        }
    }
}

/// Makes errors fit to be shown: without secrets, and in the policy's own words
/// where the plugin only knows that it was refused.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    gate: Gate,
    redactor: Redactor,
}

impl Voice {
    pub(crate) fn error(&self, error: Error) -> Error {
        match error {
            Error::Plugin(error) => {
                let error = with_refusal(error, self.gate.last_refusal());
                Error::Plugin(self.redactor.error(error))
            }
            Error::Trapped { message } => Error::Trapped {
                message: self.redactor.redact(message),
            },
            same => same,
        }
    }

    /// What the policy refused last, if anything.
    pub(crate) fn last_refusal(&self) -> Option<Refusal> {
        self.gate.last_refusal()
    }
}

/// A pair that stands in the configuration itself. Halves are the plugin's to
/// complain about.
fn explicit_pair(taken: &[(String, Secret)]) -> Result<Option<TokenPair>, TokenError> {
    let find = |wanted: &str| {
        let entry = taken.iter().find(|(key, _)| key == wanted)?;
        Some(entry.1.clone())
    };
    match (find("token_id"), find("token_secret")) {
        (Some(id), Some(secret)) => TokenPair::new(id.reveal(), secret).map(Some),
        _ => Ok(None),
    }
}

fn secrets(credentials: &TokenPair, registry: Option<&RegistryCredentials>) -> Vec<Secret> {
    let mut secrets = vec![Secret::new(credentials.id()), credentials.secret().clone()];
    secrets.extend(registry.map(|registry| Secret::new(registry.password.clone())));
    secrets
}

fn with_refusal(error: contract::Error, refusal: Option<Refusal>) -> contract::Error {
    match (error, refusal) {
        (contract::Error::Refused(refused), Some(refusal)) => {
            contract::Error::Refused(contract::Refusal {
                reason: refusal.to_string(),
                ..refused
            })
        }
        (error, _) => error,
    }
}
