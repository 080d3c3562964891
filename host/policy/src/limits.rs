//! How much a guest may ask for, as opposed to what.

use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::refusal::{Meter, Reason, Refusal, Remedy};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What bounds a guest that stays within its grants.
///
/// The defaults are meant to be out of the way of every honest plugin and to
/// bound what a hostile one can cost. All sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Limits {
    /// Requests sent and not yet answered to the end.
    ///
    /// Default 4,096: a thousand jobs with both their outputs being read, and a
    /// thousand more that are starting. What answers may take in the host is
    /// bounded by the flow-control windows of the connections.
    pub requests_in_flight: u32,
    /// Requests that wait for a place among those; further ones are refused.
    ///
    /// Default 1,024: each holds its headers and the beginning of its body in the
    /// host, 160 KiB at most, 160 MiB together.
    pub requests_waiting: u32,
    /// Headers of one request: names and values, and 32 for each pair.
    ///
    /// Default 32 KiB: twice what common servers accept (16 KiB), so that the
    /// server's own answer is seen first.
    pub request_header_bytes: u64,
    /// Body of one request.
    ///
    /// Default 1 GiB: a data file streamed into a job.
    pub request_body_bytes: u64,
    /// Body of one response.
    ///
    /// Default 4 GiB: the output of a job that talks for a day (50 KB/s) on one
    /// stream; a guest asks again where it was cut.
    pub response_body_bytes: u64,
    /// Everything a guest sends in its life: headers and bodies.
    ///
    /// Default 64 GiB: bounds what can be carried out over a channel that is
    /// allowed for something else, and what a loop can cost.
    pub egress_bytes: u64,
    /// Grants learned from responses and not yet forgotten.
    ///
    /// Default 16,384: more jobs than run at once, at some 300 bytes each.
    pub learned_grants: u32,
    /// A message that is read for what it opens, see
    /// [`LearnRule`](crate::LearnRule).
    ///
    /// Default 1 MiB: such answers hold an id, a URL and a token; the host keeps
    /// request and response in memory for as long as the call takes.
    pub learn_message_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_in_flight: 4096,
            requests_waiting: 1024,
            request_header_bytes: 32 * KIB,
            request_body_bytes: GIB,
            response_body_bytes: 4 * GIB,
            egress_bytes: 64 * GIB,
            learned_grants: 16 * 1024,
            learn_message_bytes: MIB,
        }
    }
}

impl Limits {
    /// Judges the size of a request's headers, and returns it.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with [`Reason::HeaderBytes`].
    pub fn check_headers(&self, headers: &HeaderMap) -> Result<u64, Refusal> {
        // RFC 9113, 6.5.2: how HTTP/2 counts a header list.
        const PER_PAIR: usize = 32;
        let size: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + PER_PAIR)
            .sum();
        let size = u64::try_from(size).unwrap_or(u64::MAX);
        let limit = self.request_header_bytes;
        if size > limit {
            return Err(Refusal::new(
                "the headers of a request".to_owned(),
                Reason::HeaderBytes { size, limit },
                Remedy::RaiseLimit("request_header_bytes"),
            ));
        }
        Ok(size)
    }

    /// The budget of one request's body.
    #[must_use]
    pub fn request_body(&self) -> Budget {
        Budget::new(Meter::RequestBody, self.request_body_bytes)
    }

    /// The budget of one response's body.
    #[must_use]
    pub fn response_body(&self) -> Budget {
        Budget::new(Meter::ResponseBody, self.response_body_bytes)
    }

    /// The budget of all that a guest sends in its life.
    #[must_use]
    pub fn egress(&self) -> Budget {
        Budget::new(Meter::Egress, self.egress_bytes)
    }
}

/// Bytes that are spent once and never come back.
///
/// Shared between the tasks of one guest: charging takes `&self`. What is charged
/// never exceeds the limit, whatever the order of the calls.
#[derive(Debug)]
pub struct Budget {
    meter: Meter,
    limit: u64,
    left: AtomicU64,
}

impl Budget {
    /// A full budget.
    #[must_use]
    pub fn new(meter: Meter, limit: u64) -> Self {
        Self {
            meter,
            limit,
            left: AtomicU64::new(limit),
        }
    }

    /// Takes `bytes` from the budget, all of them or none.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with [`Reason::Spent`] when fewer are left. Nothing is taken
    /// then, and smaller charges may still succeed.
    pub fn try_charge(&self, bytes: u64) -> Result<(), Refusal> {
        // Relaxed: the number is all that is shared.
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .map(|_| ())
            .map_err(|left| {
                Refusal::new(
                    format!("{bytes} bytes"),
                    Reason::Spent {
                        meter: self.meter,
                        left,
                        limit: self.limit,
                    },
                    Remedy::RaiseLimit(self.meter.limit_key()),
                )
            })
    }

    /// Bytes not yet spent.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}
