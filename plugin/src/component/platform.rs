//! HTTP, time, chance and the log, as imports.

use super::bindings::zenml::flavor::log::{Level, emit};
use super::http;
use crate::limits::Deadline;
use crate::platform::{LogLevel, Platform, TransportFault};
use std::time::Duration;
use tonic::body::Body;
use wasip3::clocks::{monotonic_clock, system_clock};
use wasip3::random::random;

/// The imports of the component.
#[derive(Debug, Clone, Copy)]
pub(super) struct Imports;

impl Platform for Imports {
    async fn send(
        &self,
        request: ::http::Request<Body>,
        deadline: Deadline,
    ) -> Result<::http::Response<Body>, TransportFault> {
        http::send(request, deadline).await
    }

    async fn sleep(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        monotonic_clock::wait_for(nanoseconds).await;
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    fn unix_time(&self) -> Duration {
        let now = system_clock::now();
        let seconds = u64::try_from(now.seconds).unwrap_or_default();
        Duration::new(seconds, now.nanoseconds.min(999_999_999))
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (first, second) = (random::get_random_u64(), random::get_random_u64());
        for (slot, byte) in bytes
            .iter_mut()
            .zip(first.to_le_bytes().into_iter().chain(second.to_le_bytes()))
        {
            *slot = byte;
        }
        bytes
    }

    fn log(&self, level: LogLevel, message: &str) {
        let level = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Warn => Level::Warn,
        };
        emit(level, message);
    }
}
