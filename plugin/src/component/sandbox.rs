//! Export `sandbox`.

use super::bindings::exports::zenml::flavor::sandbox as wit;
use super::bindings::exports::zenml::flavor::sandbox::{
    Collected, Command, Context, Guest, GuestProcess, GuestSession, Listed, Session,
    SessionOptions, Snapshot,
};
use super::bindings::zenml::flavor::types::{Error, OutputStream};
use super::{Plugin, unsupported};
use wit_bindgen::{FutureReader, StreamReader};

const WHAT: &str = "the sandbox flavor";

/// There are none in this version: every way to one is refused.
pub(super) enum NoSession {}

/// There are none in this version: they come from sessions.
pub(super) enum NoProcess {}

impl Guest for Plugin {
    type Session = NoSession;
    type Process = NoProcess;

    async fn list(_: Context, _: Vec<(String, String)>, _: bool) -> Result<Vec<Listed>, Error> {
        unsupported(WHAT)
    }
}

impl GuestSession for NoSession {
    async fn create(_: Context, _: SessionOptions) -> Result<Session, Error> {
        unsupported(WHAT)
    }

    async fn attach(_: Context, _: String) -> Result<Session, Error> {
        unsupported(WHAT)
    }

    async fn attach_named(_: Context, _: String) -> Result<Session, Error> {
        unsupported(WHAT)
    }

    async fn restore(_: Context, _: Snapshot, _: SessionOptions) -> Result<Session, Error> {
        unsupported(WHAT)
    }

    fn id(&self) -> String {
        match *self {}
    }

    fn dashboard_url(&self) -> String {
        match *self {}
    }

    fn metadata(&self) -> String {
        match *self {}
    }

    async fn exec(&self, _: Command) -> Result<wit::Process, Error> {
        match *self {}
    }

    async fn upload(&self, _: String, _: StreamReader<u8>) -> Result<u64, Error> {
        match *self {}
    }

    async fn download(
        &self,
        _: String,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn snapshot(&self) -> Result<Snapshot, Error> {
        match *self {}
    }

    async fn set_tags(&self, _: Vec<(String, String)>) -> Result<(), Error> {
        match *self {}
    }

    async fn tags(&self) -> Result<Vec<(String, String)>, Error> {
        match *self {}
    }

    async fn close(&self) {
        match *self {}
    }

    async fn destroy(&self) -> Result<(), Error> {
        match *self {}
    }

    async fn leave(&self) -> Result<(), Error> {
        match *self {}
    }
}

impl GuestProcess for NoProcess {
    async fn output(
        &self,
        _: OutputStream,
    ) -> Result<(StreamReader<u8>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn lines(
        &self,
        _: OutputStream,
    ) -> Result<(StreamReader<String>, FutureReader<Result<(), Error>>), Error> {
        match *self {}
    }

    async fn input(&self, _: StreamReader<u8>) -> Result<(), Error> {
        match *self {}
    }

    async fn wait(&self, _: Option<f64>) -> Result<i32, Error> {
        match *self {}
    }

    async fn exit_code(&self) -> Result<Option<i32>, Error> {
        match *self {}
    }

    async fn collect(&self, _: Option<u64>) -> Result<Collected, Error> {
        match *self {}
    }

    async fn kill(&self) -> Result<(), Error> {
        match *self {}
    }
}
