//! `flavor reap`
//!
//! Everything that there is gets listed before the first sandbox is ended, so that a
//! list which cannot be read ends nothing. A run's lock is held while what it left is
//! ended: whoever takes the run up again has to wait, and whoever has it is let be.

use super::{local_time, microseconds};
use crate::args::ReapArgs;
use crate::exit::{Exit, Failure};
use crate::render::counted;
use crate::target::{self, On};
use crate::{local, paths, plugin, remote, terminal};
use flavor_host::contract::Owned;
use flavor_host::state::{RunLock, StateDir};
use flavor_host::store::{RunAttempts, RunSummary};
use flavor_host::{Connection, Plugin, Target};
use serde_json::{Value, json};

/// Metadata key of the Modal environment that a step was sent to.
const ENVIRONMENT_KEY: &str = "modal_environment";

pub(crate) async fn reap(args: ReapArgs) -> Result<Exit, Failure> {
    remote::interruptible(reap_all(&args), "more may be left: run it again").await
}

async fn reap_all(args: &ReapArgs) -> Result<Exit, Failure> {
    let state = paths::open_state(false)?;
    let mut reaper = Reaper {
        args,
        state: &state,
        ended: 0,
        orphans: 0,
        failed: None,
    };
    let mut servers = Vec::new();
    let mut left_here = Vec::new();
    for on in targets(&state, args).await? {
        match on {
            On::Local => {
                left_here = local::leftovers(&state).map_err(|error| {
                    let path = state.path().display();
                    unread(Failure::new(Exit::Service, error), &path.to_string())
                })?;
            }
            on => servers.push(Listing::read(args, &state, on).await?),
        }
    }
    for run in left_here {
        reaper.leftover(&run).await;
    }
    for server in servers {
        for sandbox in &server.sandboxes {
            reaper.sandbox(&server, sandbox).await?;
        }
    }
    reaper.conclude()
}

/// Where to look.
async fn targets(state: &StateDir, args: &ReapArgs) -> Result<Vec<On>, Failure> {
    if let Some(on) = &args.on {
        return Ok(vec![On::parse(on)?]);
    }
    let mut targets = vec![On::Local];
    for name in state.store().unsettled_targets().await? {
        let on = On::parse(&name)?;
        if on != On::Local {
            targets.push(on);
        }
    }
    Ok(targets)
}

/// All that runs on a server and belongs to a run.
struct Listing {
    on: On,
    target: Target,
    plugin: Plugin,
    sandboxes: Vec<Owned>,
}

impl Listing {
    async fn read(args: &ReapArgs, state: &StateDir, on: On) -> Result<Self, Failure> {
        let target = match &on {
            On::Url(url) => target::remote(Some(url)),
            On::Modal | On::Local => target::remote(None),
        };
        let target = target.map_err(|failure| unread(failure, on.name()))?;
        let plugin = plugin::load().await?;
        let mut sandboxes: Vec<Owned> = Vec::new();
        for environment in environments(args, state, &on).await? {
            let connection = Connection::new(target.clone());
            let listed = plugin.list_owned(connection, environment).await;
            let listed = listed.map_err(|error| {
                let failure = remote::failure(error, &target.url());
                let exit = match failure.exit {
                    Exit::Refused => Exit::Refused,
                    _ => Exit::Service,
                };
                unread(failure.with_exit(exit), on.name())
            })?;
            for sandbox in listed {
                if !sandboxes
                    .iter()
                    .any(|known| known.sandbox == sandbox.sandbox)
                {
                    sandboxes.push(sandbox);
                }
            }
        }
        Ok(Self {
            on,
            target,
            plugin,
            sandboxes,
        })
    }

    async fn end(&self, sandbox: &str) -> Result<(), Failure> {
        let connection = Connection::new(self.target.clone());
        let ended = self.plugin.end_sandbox(connection, sandbox.to_owned());
        let failed = |error| remote::failure(error, &self.target.url()).at(sandbox);
        ended.await.map_err(failed)
    }
}

/// Environments of the account to look into; none is the default one.
async fn environments(
    args: &ReapArgs,
    state: &StateDir,
    on: &On,
) -> Result<Vec<Option<String>>, Failure> {
    if !args.modal_environment.is_empty() {
        return Ok(args.modal_environment.iter().cloned().map(Some).collect());
    }
    let used = state.store().metadata_values(on.name(), ENVIRONMENT_KEY);
    let used = used.await?.into_iter().map(Some);
    Ok([None].into_iter().chain(used).collect())
}

fn unread(failure: Failure, place: &str) -> Failure {
    failure.at(&format!(
        "what is left on {place} cannot be told, so nothing was ended"
    ))
}

/// Who looks after a sandbox.
enum Owner {
    /// Nobody, for this reason. As long as the lock is held, nobody else does.
    Gone(
        String,
        #[allow(dead_code, reason = "held for its lock")] RunLock,
    ),
    /// Its run has a controller.
    Alive,
    /// That is not known, for this reason.
    Unknown(&'static str),
}

impl Owner {
    fn word(&self) -> &'static str {
        match self {
            Self::Gone(..) => "orphan",
            Self::Alive => "alive",
            Self::Unknown(_) => "unknown",
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Gone(reason, _) => reason,
            Self::Alive => "its run has a controller",
            Self::Unknown(reason) => reason,
        }
    }
}

/// Decides about what was found, and says so.
struct Reaper<'r> {
    args: &'r ReapArgs,
    state: &'r StateDir,
    orphans: usize,
    ended: usize,
    failed: Option<Failure>,
}

impl Reaper<'_> {
    /// What a killed process left on this machine.
    async fn leftover(&mut self, run: &str) {
        self.orphans += 1;
        let ended = match self.args.dry_run {
            true => false,
            false => {
                let ended = local::end_leftover(self.state, run).await;
                self.note(ended)
            }
        };
        let reason = "the process that ran it is gone";
        match self.args.json {
            true => {
                let object = json!({
                    "sandbox": null, "target": "local", "run": run, "owner": "orphan",
                    "reason": reason, "ended": ended,
                });
                terminal::say(&object.to_string());
            }
            false => say(&format!("run {run} on local  orphan  {reason}"), ended),
        }
    }

    async fn sandbox(&mut self, server: &Listing, found: &Owned) -> Result<(), Failure> {
        let owner = self.owner(&server.on, found).await?;
        let is_orphan = matches!(owner, Owner::Gone(..));
        self.orphans += usize::from(is_orphan);
        let ended = match is_orphan && !self.args.dry_run {
            true => {
                let ended = server.end(&found.sandbox).await.map(|()| true);
                self.note(ended)
            }
            false => false,
        };
        match self.args.json {
            true => terminal::say(&object(server, found, &owner, ended).to_string()),
            false => say(&line(found, &owner), ended),
        }
        Ok(())
    }

    /// The record is read after the list, so it knows every run that has a sandbox in
    /// the list and is recorded here at all.
    async fn owner(&self, on: &On, found: &Owned) -> Result<Owner, Failure> {
        let store = self.state.store();
        let Some(recorded) = store.attempts(&found.run_id).await? else {
            return Ok(Owner::Unknown("no such run is recorded here"));
        };
        if !is_own(&recorded, on, found) {
            return Ok(Owner::Unknown(
                "the run of this id that is recorded here has not created it",
            ));
        }
        let unusable = |error| {
            let path = self.state.path().display();
            Failure::new(Exit::Failed, format!("{path} cannot be used: {error}"))
        };
        let directory = self.state.run_dir(&found.run_id).map_err(unusable)?;
        let Some(lock) = directory.try_lock().map_err(unusable)? else {
            return Ok(Owner::Alive);
        };
        // Under the lock it is as it will stay.
        let run = store.run(&found.run_id).await?;
        let reason = reason(run.map(|run| run.summary).as_ref());
        Ok(Owner::Gone(reason, lock))
    }

    /// Remembers a failure; whether it went well.
    fn note(&mut self, ended: Result<bool, Failure>) -> bool {
        match ended {
            Ok(ended) => {
                self.ended += usize::from(ended);
                ended
            }
            Err(failure) => {
                if let Some(earlier) = self.failed.replace(failure) {
                    terminal::complain(&format!("error: {}", earlier.message()));
                }
                false
            }
        }
    }

    fn conclude(self) -> Result<Exit, Failure> {
        terminal::complain(&match self.args.dry_run {
            true => format!(
                "{}; nothing was ended (--dry-run)",
                counted(self.orphans, "orphan")
            ),
            false => format!("{}, {} ended", counted(self.orphans, "orphan"), self.ended),
        });
        self.failed.map_or(Ok(Exit::Done), Err)
    }
}

/// Whether a run that is recorded here has created a sandbox. Another machine may have
/// a run of the same id, so the id is not enough: the sandbox is recorded, or an attempt
/// is whose create had no answer, and the sandbox carries its tags.
fn is_own(recorded: &RunAttempts, on: &On, found: &Owned) -> bool {
    let attempts = &recorded.attempts;
    if attempts
        .iter()
        .any(|attempt| attempt.sandbox.as_ref() == Some(&found.sandbox))
    {
        return true;
    }
    let is_in_doubt = attempts.iter().any(|attempt| {
        attempt.sandbox.is_none()
            && found.step.as_ref() == Some(&attempt.step)
            && found.attempt == Some(attempt.number)
    });
    let is_of_its_time = found.epoch.is_some_and(|epoch| epoch <= recorded.epoch);
    is_in_doubt && is_of_its_time && recorded.target == on.name()
}

fn reason(run: Option<&RunSummary>) -> String {
    match run {
        Some(run) if run.status.is_final() => format!("its run has ended: {}", run.status.word()),
        Some(_) => "the controller of its run is gone".to_owned(),
        None => "its run was forgotten".to_owned(),
    }
}

fn line(found: &Owned, owner: &Owner) -> String {
    let step = found.step.as_deref().unwrap_or("?");
    let attempt = match found.attempt {
        Some(attempt) => format!(".{attempt}"),
        None => String::new(),
    };
    format!(
        "{}  run {}, step {step}{attempt}, created {}  {}  {}",
        found.sandbox,
        found.run_id,
        local_time(microseconds(found.created_at)),
        owner.word(),
        owner.reason(),
    )
}

fn say(line: &str, ended: bool) {
    let line = terminal::escape(line);
    terminal::say(&match ended {
        true => format!("{line}  ended"),
        false => line,
    });
}

fn object(server: &Listing, found: &Owned, owner: &Owner, ended: bool) -> Value {
    json!({
        "sandbox": found.sandbox,
        "target": server.on.name(),
        "run": found.run_id,
        "step": found.step,
        "attempt": found.attempt,
        "created_at": microseconds(found.created_at),
        "owner": owner.word(),
        "reason": owner.reason(),
        "ended": ended,
    })
}
