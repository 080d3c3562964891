//! What goes wrong.

use std::time::Duration;

use pipeline_file::decode::{Decoder, Fields, Place};

use super::super::words::METHODS;
use super::super::{
    CallFault, Calls, Fault, Moment, Occasion, Rpc, SandboxFault, StoreCall, StoreFault, When,
};
use super::values::{StepNames, jump, number, seconds, word};

/// What may go wrong, and the keys that say more about it.
#[derive(Clone, Copy)]
enum Kind {
    Call(&'static [&'static str]),
    Store(&'static [&'static str]),
    Sandbox(&'static [&'static str]),
    Killed,
    ClockJump,
}

const CALL: &[&str] = &["fault", "call", "nth", "times", "from", "to"];
const SLOW_CALL: &[&str] = &["fault", "call", "nth", "times", "from", "to", "seconds"];
const THROTTLED_CALL: &[&str] = &["fault", "call", "nth", "times", "from", "to", "retry_after"];
const STORE: &[&str] = &["fault", "operation", "nth", "times"];
const SLOW_STORE: &[&str] = &["fault", "operation", "nth", "times", "seconds"];
const SANDBOX: &[&str] = &["fault", "step", "attempt"];
const TIMED_SANDBOX: &[&str] = &["fault", "step", "attempt", "after"];
const KILLED: &[&str] = &["fault", "nth", "at", "moment", "restart_after"];
const CLOCK_JUMP: &[&str] = &["fault", "at", "by"];

const KINDS: [(&str, Kind); 20] = [
    ("lost_request", Kind::Call(CALL)),
    ("lost_reply", Kind::Call(CALL)),
    ("duplicate", Kind::Call(CALL)),
    ("delayed_request", Kind::Call(SLOW_CALL)),
    ("delayed_reply", Kind::Call(SLOW_CALL)),
    ("overtaken", Kind::Call(CALL)),
    ("reset_request", Kind::Call(CALL)),
    ("reset_reply", Kind::Call(CALL)),
    ("throttled", Kind::Call(THROTTLED_CALL)),
    ("unavailable", Kind::Call(CALL)),
    ("expired_token", Kind::Call(CALL)),
    ("store_fails", Kind::Store(STORE)),
    ("store_stalls", Kind::Store(SLOW_STORE)),
    ("never_starts", Kind::Sandbox(SANDBOX)),
    ("hangs", Kind::Sandbox(SANDBOX)),
    ("dies", Kind::Sandbox(TIMED_SANDBOX)),
    ("evicted", Kind::Sandbox(TIMED_SANDBOX)),
    ("lost_sandbox", Kind::Sandbox(TIMED_SANDBOX)),
    ("killed", Kind::Killed),
    ("clock_jump", Kind::ClockJump),
];

pub(super) fn faults(
    decoder: &mut Decoder<'_>,
    place: Place<'_>,
    names: &StepNames,
) -> Option<Vec<Fault>> {
    let help = "write `{fault: lost_reply, call: SandboxCreateV2}`";
    decoder.list(place, "a list of faults", help, |decoder, item| {
        fault(decoder, item, names)
    })
}

fn fault(decoder: &mut Decoder<'_>, place: Place<'_>, names: &StepNames) -> Option<Fault> {
    let (kind_name, kind) = kind(decoder, place)?;
    let keys = match kind {
        Kind::Call(keys) | Kind::Store(keys) | Kind::Sandbox(keys) => keys,
        Kind::Killed => KILLED,
        Kind::ClockJump => CLOCK_JUMP,
    };
    let fields = decoder.fields(place, "a fault's keys", keys)?;
    match kind {
        Kind::Call(_) => {
            let calls = calls(decoder, place, &fields);
            let what = call_fault(decoder, &fields, kind_name);
            Some(Fault::Call {
                calls: calls?,
                what: what?,
            })
        }
        Kind::Store(_) => {
            let call = fields.get("operation").and_then(|place| {
                let calls = StoreCall::ALL.map(|call| (call.word(), call));
                word(decoder, place, "an operation of the run store", calls)
            });
            let when = occasion(decoder, &fields);
            let what = match kind_name {
                "store_stalls" => StoreFault::Stalls(required_time(decoder, &fields, "seconds")?),
                _ => StoreFault::Fails,
            };
            Some(Fault::Store { call, when, what })
        }
        Kind::Sandbox(_) => sandbox(decoder, &fields, kind_name, names),
        Kind::Killed => killed(decoder, place, &fields),
        Kind::ClockJump => {
            let at = required_time(decoder, &fields, "at");
            let help = "write the seconds by which the clock jumps, below 0 for backwards";
            let by_seconds = decoder.required(&fields, "by", help, jump);
            Some(Fault::ClockJump {
                at: at?,
                by_seconds: by_seconds?,
            })
        }
    }
}

/// What kind of fault it is; the keys that it may have follow from that.
fn kind(decoder: &mut Decoder<'_>, place: Place<'_>) -> Option<(&'static str, Kind)> {
    let entries = decoder.entries(place, "a fault's keys")?;
    let Some(keyed) = entries.iter().find(|keyed| keyed.key() == "fault") else {
        let help = "say what goes wrong, such as `fault: lost_reply`";
        decoder.report(place, "the key `fault` is missing", help);
        return None;
    };
    let kinds = KINDS.map(|(name, kind)| (name, (name, kind)));
    word(decoder, keyed.value(&place), "a kind of fault", kinds)
}

fn calls(decoder: &mut Decoder<'_>, place: Place<'_>, fields: &Fields<'_>) -> Option<Calls> {
    let rpc = match fields.get("call") {
        None => Some(Rpc::Any),
        Some(place) => {
            let methods = METHODS.iter().map(|method| (*method, *method));
            let method = word(decoder, place, "a method of the service", methods);
            method.map(|method| Rpc::Named(method.to_owned()))
        }
    };
    let mut time = |key| fields.get(key).and_then(|place| seconds(decoder, place));
    let (from, to) = (time("from"), time("to"));
    let when = match (from, to) {
        (None, None) => When::Nth(occasion(decoder, fields)),
        (from, to) => {
            if fields.get("nth").is_some() || fields.get("times").is_some() {
                let what = "calls are picked by number or by time, and here are both";
                decoder.report(
                    place,
                    what,
                    "leave `nth` and `times`, or `from` and `to` out",
                );
            }
            let (from, to) = (from.unwrap_or_default(), to.unwrap_or(Duration::MAX));
            if to <= from {
                decoder.report(
                    place,
                    "the time ends before it begins",
                    "write `from` before `to`",
                );
            }
            When::Between { from, to }
        }
    };
    Some(Calls { rpc: rpc?, when })
}

/// Calls in a row by number; the first one where nothing is said.
fn occasion(decoder: &mut Decoder<'_>, fields: &Fields<'_>) -> Occasion {
    let mut count = |key| {
        let place = fields.get(key)?;
        number(decoder, place, 1..=u64::MAX)
    };
    Occasion {
        nth: count("nth").unwrap_or(1),
        times: count("times").unwrap_or(1),
    }
}

fn call_fault(decoder: &mut Decoder<'_>, fields: &Fields<'_>, kind: &str) -> Option<CallFault> {
    Some(match kind {
        "lost_request" => CallFault::LostRequest,
        "lost_reply" => CallFault::LostReply,
        "duplicate" => CallFault::Duplicate,
        "delayed_request" => CallFault::DelayedRequest(required_time(decoder, fields, "seconds")?),
        "delayed_reply" => CallFault::DelayedReply(required_time(decoder, fields, "seconds")?),
        "overtaken" => CallFault::Overtaken,
        "reset_request" => CallFault::ResetRequest,
        "reset_reply" => CallFault::ResetReply,
        "throttled" => {
            let after = fields.get("retry_after");
            CallFault::Throttled(after.and_then(|place| seconds(decoder, place)))
        }
        "expired_token" => CallFault::ExpiredToken,
        _ => CallFault::Unavailable,
    })
}

fn sandbox(
    decoder: &mut Decoder<'_>,
    fields: &Fields<'_>,
    kind: &str,
    names: &StepNames,
) -> Option<Fault> {
    let help = "name the step whose sandbox it is";
    let step = decoder.required(fields, "step", help, |decoder, place| {
        names.one(decoder, place)
    });
    let attempt = fields
        .get("attempt")
        .and_then(|place| number(decoder, place, 0..=u32::MAX));
    let after = fields
        .get("after")
        .and_then(|place| seconds(decoder, place));
    let after = after.unwrap_or_default();
    let what = match kind {
        "never_starts" => SandboxFault::NeverStarts,
        "hangs" => SandboxFault::Hangs,
        "dies" => SandboxFault::Dies(after),
        "evicted" => SandboxFault::Evicted(after),
        _ => SandboxFault::Lost(after),
    };
    Some(Fault::Sandbox {
        step: step?,
        attempt,
        what,
    })
}

fn killed(decoder: &mut Decoder<'_>, place: Place<'_>, fields: &Fields<'_>) -> Option<Fault> {
    let at = match (fields.get("at"), fields.get("nth")) {
        (Some(at), None) => When::Between {
            from: seconds(decoder, at)?,
            to: Duration::MAX,
        },
        (None, Some(_)) => When::Nth(occasion(decoder, fields)),
        _ => {
            let what = "one of `nth` and `at` says when the controller is killed";
            let help = "write `nth`, the number of the import call, or `at`, the seconds";
            decoder.report(place, what, help);
            return None;
        }
    };
    let moment = fields.get("moment").and_then(|place| {
        let moments = Moment::ALL.map(|moment| (moment.word(), moment));
        word(decoder, place, "a moment", moments)
    });
    let restart_after = fields
        .get("restart_after")
        .and_then(|place| seconds(decoder, place));
    Some(Fault::Kill {
        at,
        moment: moment.unwrap_or(Moment::Before),
        restart_after: restart_after.unwrap_or(Duration::from_secs(1)),
    })
}

fn required_time(
    decoder: &mut Decoder<'_>,
    fields: &Fields<'_>,
    key: &'static str,
) -> Option<Duration> {
    decoder.required(fields, key, "write a number of seconds", seconds)
}
