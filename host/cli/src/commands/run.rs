//! `flavor run`

use super::run_id;
use crate::args::RunArgs;
use crate::exit::{Exit, Failure};
use crate::local::{self, Local, LocalFiles};
use crate::render::{self, Renderer, RunFacts};
use crate::signals::Interrupts;
use crate::target::{self, On};
use crate::{convert, paths, plugin, registry, remote, terminal};
use flavor_host::contract::{self, Event, RegistryCredentials, RunStatus, StopMode};
use flavor_host::outputs::OutputWriter;
use flavor_host::state::{RunDir, StateDir};
use flavor_host::store::RunStore as _;
use flavor_host::{Error, Plugin, Run, RunRequest, Target};
use pipeline_file::{PipelineFile, RunId};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// After the first interruption a run has this long to end.
const STOPPING: Duration = Duration::from_secs(9);

/// After the second one it has this long.
const STOPPING_AT_ONCE: Duration = Duration::from_millis(1500);

/// When a run was interrupted that took longer.
const STILL_RUNNING: &str = "before its sandboxes were known to have ended";

pub(crate) async fn run(args: RunArgs) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let on = On::parse(&args.on)?;
    let id = run_id(args.run_id.as_deref())?;
    let file = convert::read(&args.file)?;
    check_local_only(&on, &file, &args)?;
    let files = LocalFiles::new(&args.file, &file.files)?;
    let plugin = plugin::load().await?;
    // What is wrong with the pipeline is said before anything exists of it.
    let check = convert::pipeline(&file, &id, args.max_parallelism, None);
    plugin
        .check(no_service(), check)
        .await
        .map_err(|error| in_file(error, &args))?;
    let registry = match &file.registry {
        Some(server) => registry::login(server)?,
        None => None,
    };
    let remote = match &on {
        On::Local => None,
        On::Modal => Some(target::remote(None)?),
        On::Url(url) => Some(target::remote(Some(url))?),
    };

    let state = paths::open_state(args.durable)?;
    let directory = state
        .run_dir(id.as_str())
        .map_err(|error| unusable(&state, &error))?;
    let lock = directory
        .try_lock()
        .map_err(|error| unusable(&state, &error))?;
    // Whoever records a run holds its lock, so nobody does from here on.
    if state.store().run(id.as_str()).await?.is_some() {
        return Err(Failure::bad_input(format!(
            "there is a run `{id}` already: resume it with `flavor resume {id}`, or take another id"
        )));
    }
    let Some(_lock) = lock else {
        return Err(Failure::bad_input(format!(
            "run `{id}` is being started elsewhere: take another id"
        )));
    };
    local::end_leftovers(&state).await;
    let local = match remote {
        Some(_) => None,
        None => Some(Local::start(&directory, files).await?),
    };
    let session = Session {
        args: &args,
        plugin: &plugin,
        state: &state,
        directory: &directory,
        file: &file,
        id: &id,
        on: &on,
        registry,
    };
    let result = match remote.map_or_else(|| session.local_target(local.as_ref()), Ok) {
        Ok(target) => session.run_on(target, &mut interrupts).await,
        Err(failure) => Err(failure),
    };
    if let Some(local) = local {
        local.shutdown().await;
    }
    result
}

/// Everything about one run.
struct Session<'s> {
    args: &'s RunArgs,
    plugin: &'s Plugin,
    state: &'s StateDir,
    directory: &'s RunDir,
    file: &'s PipelineFile,
    id: &'s RunId,
    on: &'s On,
    registry: Option<RegistryCredentials>,
}

impl Session<'_> {
    fn local_target(&self, local: Option<&Local>) -> Result<Target, Failure> {
        match local {
            Some(local) => local.target(),
            None => Err(Failure::new(Exit::Failed, "there is no local Modal")),
        }
    }

    async fn run_on(&self, target: Target, interrupts: &mut Interrupts) -> Result<Exit, Failure> {
        let url = target.url();
        let request = self.request(target)?;
        let mut renderer = render::renderer(self.args.json);
        renderer.run_started(&RunFacts {
            id: self.id.to_string(),
            name: self.file.name.clone(),
            target: self.on.name().to_owned(),
            steps: self.step_names(),
        });
        let limits = self.plugin.host().limits();
        let outputs = self
            .directory
            .outputs()
            .and_then(|outputs| outputs.writer(limits.step_output_bytes, limits.run_output_bytes))
            .map_err(|error| unusable(self.state, &error))?;
        let started = tokio::select! {
            started = self.plugin.run(request) => started,
            () = interrupts.next() => {
                return Err(self.cut_off(renderer.as_mut(), "before it had begun").await);
            }
        };
        let run = started.map_err(|error| {
            let failure = remote::failure(error, &url);
            renderer.failed(&failure);
            failure
        })?;
        self.follow(run, renderer.as_mut(), outputs, interrupts)
            .await
    }

    fn request(&self, target: Target) -> Result<RunRequest, Failure> {
        let run_dir = match self.file.run_dir {
            true => Some(
                self.directory
                    .shared()
                    .map_err(|error| unusable(self.state, &error))?,
            ),
            false => None,
        };
        let pipeline = convert::pipeline(
            self.file,
            self.id,
            self.args.max_parallelism,
            run_dir.as_deref(),
        );
        let mut request = RunRequest::new(pipeline, target, Arc::new(self.state.store().clone()));
        request.target_name = self.on.name().to_owned();
        request.registry = self.registry.clone();
        Ok(request)
    }

    /// Shows and keeps what happens until the run is over.
    async fn follow(
        &self,
        mut run: Run,
        renderer: &mut dyn Renderer,
        mut outputs: OutputWriter,
        interrupts: &mut Interrupts,
    ) -> Result<Exit, Failure> {
        let mut stop_by: Option<Instant> = None;
        let mut output_failed = false;
        loop {
            let event = tokio::select! {
                biased;
                () = interrupts.next() => {
                    let patience = match stop_by {
                        None => {
                            renderer.stopping();
                            run.stop(StopMode::Force).await?;
                            STOPPING
                        }
                        Some(_) => STOPPING_AT_ONCE,
                    };
                    stop_by = Some(Instant::now() + patience);
                    continue;
                }
                () = sleep_until(stop_by.unwrap_or_else(far_away)), if stop_by.is_some() => {
                    return Err(self.cut_off(renderer, STILL_RUNNING).await);
                }
                event = run.next() => event,
            };
            let Some(event) = event else { break };
            if let Err(error) = outputs.record(&event) {
                if !output_failed {
                    terminal::complain(&format!("warning: output cannot be kept: {error}"));
                }
                output_failed = true;
            }
            renderer.event(&event);
            if matches!(event, Event::RunFinished(_)) {
                break;
            }
        }
        match run.finish().await {
            Ok(finished) => Ok(Exit::of_run(&finished)),
            Err(error) => {
                let failure = Failure::from(error);
                renderer.failed(&failure);
                Err(failure)
            }
        }
    }

    /// The run does not end by itself in time: records that.
    async fn cut_off(&self, renderer: &mut dyn Renderer, when: &str) -> Failure {
        let reason = format!("interrupted {when}");
        let failure = Failure::new(Exit::Stopped, format!("run {} was {reason}", self.id));
        renderer.failed(&failure);
        let store = self.state.store();
        // A run that was never recorded needs no end.
        let _ = store
            .end(self.id.as_str(), RunStatus::Stopped, Some(reason))
            .await;
        failure
    }

    fn step_names(&self) -> Vec<String> {
        let steps = self.file.steps.iter();
        steps.map(|step| step.name.as_str().to_owned()).collect()
    }
}

/// `files` and `run_dir` need the steps to be on this machine.
fn check_local_only(on: &On, file: &PipelineFile, args: &RunArgs) -> Result<(), Failure> {
    if *on == On::Local {
        return Ok(());
    }
    let key = match (file.files.is_empty(), file.run_dir) {
        (false, _) => "files",
        (true, true) => "run_dir",
        (true, false) => return Ok(()),
    };
    Err(Failure::bad_input(format!(
        "{}: {key}: works with `--on local` only, because steps on {} cannot see files of this \
         machine; put what they need into the image",
        args.file.display(),
        on.name()
    )))
}

fn in_file(error: Error, args: &RunArgs) -> Failure {
    crate::commands::validate::in_file(error, &args.file)
}

fn no_service() -> contract::Context {
    crate::commands::validate::no_service()
}

fn unusable(state: &StateDir, error: &std::io::Error) -> Failure {
    let path = state.path().display();
    Failure::new(
        Exit::Failed,
        format!("the state directory {path} cannot be used: {error}"),
    )
}

/// For a timer that is not on.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(86_400)
}
