//! Executing commands in a sandbox and asking about them.

use std::sync::atomic::{AtomicU64, Ordering};

use modal_proto::{
    client::{self as pb, secret_source::Source},
    task_command_router::{
        self as tcr, TaskExecStderrConfig, TaskExecStdioFileDescriptor, TaskExecStdoutConfig,
        task_exec_poll_response, task_exec_stdin_write_stream_request::Payload,
        task_exec_wait_response::ExitStatus,
    },
};
use tonic::Status;

use super::{Local, Router, Sandbox};

/// A command to be executed.
#[derive(Clone)]
pub(crate) struct Start {
    router: Router,
    pub(crate) request: tcr::TaskExecStartRequest,
}

/// A command that was started.
#[derive(Clone)]
pub(crate) struct Exec {
    pub(crate) router: Router,
    pub(crate) task: String,
    pub(crate) id: String,
}

impl Sandbox {
    pub(crate) fn exec<const N: usize>(&self, local: &Local, command: [&str; N]) -> Start {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Start {
            router: local.router(&self.jwt),
            request: tcr::TaskExecStartRequest {
                task_id: self.task.clone(),
                exec_id: format!("exec-{number}"),
                command_args: command.map(str::to_owned).into(),
                stdout_config: TaskExecStdoutConfig::Pipe.into(),
                stderr_config: TaskExecStderrConfig::Pipe.into(),
                ..tcr::TaskExecStartRequest::default()
            },
        }
    }

    pub(crate) fn shell(&self, local: &Local, script: &str) -> Start {
        self.exec(local, ["sh", "-c", script])
    }
}

impl Start {
    pub(crate) fn define(mut self, change: impl FnOnce(&mut tcr::TaskExecStartRequest)) -> Self {
        change(&mut self.request);
        self
    }

    pub(crate) fn env<const N: usize>(self, env: [(&str, &str); N]) -> Self {
        let contents = env.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.define(|request| {
            request.secret_sources.push(pb::SecretSource {
                source: Some(Source::Env(pb::StringMap {
                    contents: contents.into(),
                })),
            });
        })
    }

    pub(crate) async fn start(self) -> Exec {
        self.try_start().await.unwrap()
    }

    pub(crate) async fn try_start(mut self) -> Result<Exec, Status> {
        let (task, id) = (self.request.task_id.clone(), self.request.exec_id.clone());
        self.router.task_exec_start(self.request).await?;
        Ok(Exec {
            router: self.router,
            task,
            id,
        })
    }
}

impl Exec {
    pub(crate) async fn try_wait(&self) -> Result<ExitStatus, Status> {
        let request = tcr::TaskExecWaitRequest {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
        };
        let answer = self.router.clone().task_exec_wait(request).await?;
        Ok(answer.into_inner().exit_status.expect("an exit"))
    }

    pub(crate) async fn wait(&self) -> ExitStatus {
        super::in_time(self.try_wait()).await.unwrap()
    }

    pub(crate) async fn poll(&self) -> Option<task_exec_poll_response::ExitStatus> {
        let request = tcr::TaskExecPollRequest {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
        };
        let answer = self.router.clone().task_exec_poll(request).await;
        answer.unwrap().into_inner().exit_status
    }

    pub(crate) async fn stream(
        &self,
        descriptor: TaskExecStdioFileDescriptor,
        offset: u64,
    ) -> tonic::Streaming<tcr::TaskExecStdioReadResponse> {
        let request = tcr::TaskExecStdioReadRequest {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
            offset,
            file_descriptor: descriptor.into(),
        };
        let stream = self.router.clone().task_exec_stdio_read(request).await;
        stream.unwrap().into_inner()
    }

    pub(crate) async fn try_read(
        &self,
        descriptor: TaskExecStdioFileDescriptor,
        offset: u64,
    ) -> Result<Vec<u8>, Status> {
        let mut stream = self.stream(descriptor, offset).await;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.message().await? {
            assert!(!chunk.data.is_empty(), "an empty chunk");
            bytes.extend(chunk.data);
        }
        Ok(bytes)
    }

    pub(crate) async fn stdout(&self) -> Vec<u8> {
        let read = self.try_read(TaskExecStdioFileDescriptor::Stdout, 0);
        super::in_time(read).await.unwrap()
    }

    pub(crate) async fn stderr(&self) -> Vec<u8> {
        let read = self.try_read(TaskExecStdioFileDescriptor::Stderr, 0);
        super::in_time(read).await.unwrap()
    }

    pub(crate) async fn write(&self, offset: u64, data: &[u8], eof: bool) -> Result<(), Status> {
        let request = tcr::TaskExecStdinWriteRequest {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
            offset,
            data: data.to_vec(),
            eof,
        };
        let written = self.router.clone().task_exec_stdin_write(request).await;
        written.map(drop)
    }

    /// Bytes taken, and whether the end was.
    pub(crate) async fn stdin(&self) -> (u64, bool) {
        let request = tcr::TaskExecStdinStatusRequest {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
        };
        let status = self.router.clone().task_exec_stdin_status(request).await;
        let status = status.unwrap().into_inner();
        (status.num_bytes_written, status.closed)
    }

    pub(crate) fn begin(&self, offset: u64) -> tcr::TaskExecStdinWriteStreamRequest {
        part(Payload::Start(tcr::TaskExecStdinWriteStreamStart {
            task_id: self.task.clone(),
            exec_id: self.id.clone(),
            offset,
        }))
    }

    /// Writes all of it in one stream of messages as the official clients send
    /// them, and the end.
    pub(crate) async fn upload(&self, bytes: &[u8]) -> Result<(), Status> {
        let mut messages = vec![self.begin(0)];
        messages.extend(bytes.chunks(262_144).map(data));
        messages.push(end());
        let messages = futures::stream::iter(messages);
        let mut router = self.router.clone();
        let sent = router.task_exec_stdin_write_stream(messages).await;
        sent.map(drop)
    }
}

pub(crate) fn data(bytes: &[u8]) -> tcr::TaskExecStdinWriteStreamRequest {
    part(Payload::Data(bytes.to_vec()))
}

pub(crate) fn end() -> tcr::TaskExecStdinWriteStreamRequest {
    part(Payload::End(tcr::TaskExecStdinWriteStreamEnd {}))
}

fn part(payload: Payload) -> tcr::TaskExecStdinWriteStreamRequest {
    tcr::TaskExecStdinWriteStreamRequest {
        payload: Some(payload),
    }
}
