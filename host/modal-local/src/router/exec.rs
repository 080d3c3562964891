//! Commands in a sandbox: start, poll, wait.

use std::{sync::Arc, time::Duration};

use modal_proto::{
    client::{PtyInfo, secret_source::Source},
    task_command_router::{
        TaskExecPollRequest, TaskExecPollResponse, TaskExecStartRequest, TaskExecStartResponse,
        TaskExecStderrConfig, TaskExecStdoutConfig, TaskExecWaitRequest, TaskExecWaitResponse,
        task_exec_poll_response::ExitStatus as Polled,
        task_exec_wait_response::ExitStatus as Waited,
    },
};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::{Request, Response, Status};

use super::{Answer, Router};
use crate::{
    environment,
    execs::{self, Exec, ExecId},
    executor::{ExecLaunch, ProcessExit, Stderr, Stdio, WindowSize, process::writes_a_file},
    quota,
    sandbox::{Phase, Sandbox},
};

impl Router {
    /// Answers once the command is registered: a repeated start finds it.
    ///
    /// One that cannot be started ends at once, as in a shell: with exit code
    /// 127, 126 or 125, and the reason as its stderr.
    pub(super) async fn start_exec(
        &self,
        request: Request<TaskExecStartRequest>,
    ) -> Answer<TaskExecStartResponse> {
        let sandbox = self.sandbox(&request, &request.get_ref().task_id)?;
        let request = request.into_inner();
        let id = ExecId::parse(request.exec_id.clone())?;
        let digest = Sha256::digest(request.encode_to_vec()).into();
        let timeout = request.timeout_secs.filter(|seconds| *seconds > 0);
        let timeout = timeout.map(|seconds| Duration::from_secs(seconds.into()));
        let launch = self.launch(&sandbox, request)?;

        let runs = |phase: &Phase| matches!(phase, Phase::Running { .. }) || phase.is_final();
        let phase = sandbox.reaches(runs).await;
        let running = self.core.limits.running_execs;
        let registered = {
            let mut execs = sandbox.execs();
            if execs.get(&id).is_none() && phase.is_final() {
                return Err(Status::not_found(format!(
                    "sandbox {} has ended: no command can be executed in it",
                    sandbox.id
                )));
            }
            if execs.get(&id).is_none() && writes_a_file(&launch.argv) {
                quota::check(&self.core)?;
            }
            execs.register(&id, digest, running)?
        };
        if let Some(exec) = registered {
            execs::spawn(Arc::clone(&self.core), sandbox, exec, launch, timeout);
        }
        Ok(Response::new(TaskExecStartResponse {}))
    }

    fn launch(
        &self,
        sandbox: &Sandbox,
        request: TaskExecStartRequest,
    ) -> Result<ExecLaunch, Status> {
        if !request.container_id.is_empty() {
            return Err(Status::unimplemented(
                "container_id: the local Modal has no containers beside a sandbox's own",
            ));
        }
        if request.command_args.is_empty() {
            return Err(Status::invalid_argument("command_args is empty"));
        }
        let workdir = request
            .workdir
            .clone()
            .filter(|workdir| !workdir.is_empty());
        environment::check_command(&request.command_args, workdir.as_deref())?;
        let stdio = stdio(&request)?;
        let terminal = request.pty_info.as_ref().map(terminal_variables);
        let older_clients = Source::Env(modal_proto::client::StringMap {
            contents: request.env,
        });
        let sources = terminal
            .into_iter()
            .chain([older_clients])
            .chain(request.secret_ids.into_iter().map(Source::SecretId))
            .chain(
                request
                    .secret_sources
                    .into_iter()
                    .filter_map(|source| source.source),
            );
        let env = environment::overlay(&self.core.store(), sources)?;
        Ok(ExecLaunch {
            sandbox: sandbox.id.clone(),
            argv: request.command_args,
            env,
            workdir,
            stdio,
        })
    }

    /// The exit, unset while the command runs.
    pub(super) fn poll_exec(
        &self,
        request: &Request<TaskExecPollRequest>,
    ) -> Answer<TaskExecPollResponse> {
        let TaskExecPollRequest { task_id, exec_id } = request.get_ref();
        let exec = self.exec(request, task_id, exec_id)?;
        let exit_status = exec.exit().map(|exit| match exit {
            ProcessExit::Code(code) => Polled::Code(code),
            ProcessExit::Signal(signal) => Polled::Signal(signal),
        });
        Ok(Response::new(TaskExecPollResponse { exit_status }))
    }

    /// Held until the command ends: clients bound it by a deadline of their
    /// own.
    pub(super) async fn wait_exec(
        &self,
        request: Request<TaskExecWaitRequest>,
    ) -> Answer<TaskExecWaitResponse> {
        let TaskExecWaitRequest { task_id, exec_id } = request.get_ref();
        let exec = self.exec(&request, task_id, exec_id)?;
        let exit_status = exec.ended().await.map(|exit| match exit {
            ProcessExit::Code(code) => Waited::Code(code),
            ProcessExit::Signal(signal) => Waited::Signal(signal),
        });
        Ok(Response::new(TaskExecWaitResponse { exit_status }))
    }

    /// The command of a request, if the caller may.
    pub(super) fn exec<T>(
        &self,
        request: &Request<T>,
        task_id: &str,
        exec_id: &str,
    ) -> Result<Arc<Exec>, Status> {
        exec_in(&*self.sandbox(request, task_id)?, exec_id)
    }
}

pub(super) fn exec_in(sandbox: &Sandbox, exec_id: &str) -> Result<Arc<Exec>, Status> {
    let exec = sandbox.execs().get(&ExecId::from_text(exec_id)).cloned();
    exec.ok_or_else(|| {
        Status::not_found(format!(
            "command {exec_id:?} not found in sandbox {}: it was never started, or ended long \
             ago and was forgotten",
            sandbox.id
        ))
    })
}

fn stdio(request: &TaskExecStartRequest) -> Result<Stdio, Status> {
    if let Some(terminal) = request.pty_info.as_ref().filter(|pty| pty.enabled) {
        return window_size(terminal).map(Stdio::Terminal);
    }
    Ok(Stdio::Pipes {
        stdout: request.stdout_config() == TaskExecStdoutConfig::Pipe,
        stderr: match request.stderr_config() {
            TaskExecStderrConfig::Devnull => Stderr::Nowhere,
            TaskExecStderrConfig::Pipe => Stderr::Pipe,
            TaskExecStderrConfig::Stdout => Stderr::Stdout,
        },
    })
}

/// 24 lines of 80 characters where the request does not say.
fn window_size(terminal: &PtyInfo) -> Result<WindowSize, Status> {
    let parse = |what: &str, characters: u32, usual: u16| match characters {
        0 => Ok(usual),
        _ => u16::try_from(characters).map_err(|_| {
            Status::invalid_argument(format!("pty_info.{what} is {characters}: at most 65535"))
        }),
    };
    Ok(WindowSize {
        rows: parse("winsz_rows", terminal.winsz_rows, 24)?,
        columns: parse("winsz_cols", terminal.winsz_cols, 80)?,
    })
}

fn terminal_variables(terminal: &PtyInfo) -> Source {
    let variables = [
        ("TERM", &terminal.env_term),
        ("COLORTERM", &terminal.env_colorterm),
        ("TERM_PROGRAM", &terminal.env_term_program),
    ];
    let given = variables.into_iter().filter(|(_, value)| !value.is_empty());
    Source::Env(modal_proto::client::StringMap {
        contents: given
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect(),
    })
}
