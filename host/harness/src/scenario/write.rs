//! Scenarios to scenario files.

use std::time::Duration;

use flavor_host::contract::OutputStream;
use serde_json::{Map, Value, json};

use super::read::RUN_ENDS;
use super::{
    Behaviour, CallFault, Capacity, Chance, End, Expectations, Fault, Milestone, Moment, Occasion,
    Passed, Range, Rpc, SandboxFault, Scenario, StoreFault, When, Written,
};

impl Scenario {
    /// The scenario as the YAML of a scenario file. Reading that gives the same
    /// scenario again, but for output that is no UTF-8.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        // JSON is YAML too: what would not fit in its other form is right in this.
        let document = Value::Object(self.document());
        serde_saphyr::to_string(&document).unwrap_or_else(|_| document.to_string())
    }

    fn document(&self) -> Map<String, Value> {
        let mut keys = Keys::default();
        keys.set("name", self.name.as_str());
        let pipeline = match &self.pipeline_path {
            Some(path) => json!(path),
            None => json!(self.pipeline),
        };
        keys.set("pipeline", pipeline);
        keys.may("max_parallelism", self.max_parallelism.map(u32::from));
        keys.unless("seed", self.seed, 0);
        keys.filled("service", service(&self.service));
        let steps = self.behaviours.iter();
        let steps = steps.map(|(step, attempts)| (step.clone(), attempts_of(attempts)));
        keys.filled("steps", steps.collect());
        keys.filled("other_steps", behaviour(&self.default_behaviour));
        keys.list("cached", self.cached.iter().map(|step| json!(step)));
        keys.list(
            "stop",
            self.stops
                .iter()
                .map(|(at, mode)| json!({"at": seconds(*at), "mode": mode.word()})),
        );
        keys.list("faults", self.faults.iter().map(fault));
        keys.filled("chance", chance(&self.chance));
        keys.filled("expect", expectations(&self.expect));
        keys.0
    }
}

/// An object that is put together key by key; what is as it would be anyway is left
/// out.
#[derive(Default)]
struct Keys(Map<String, Value>);

impl Keys {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn may(&mut self, key: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(key, value);
        }
    }

    fn unless<T: PartialEq + Into<Value>>(&mut self, key: &str, value: T, default: T) {
        if value != default {
            self.set(key, value);
        }
    }

    fn filled(&mut self, key: &str, object: Map<String, Value>) {
        if !object.is_empty() {
            self.set(key, object);
        }
    }

    fn list(&mut self, key: &str, items: impl Iterator<Item = Value>) {
        let items: Vec<Value> = items.collect();
        if !items.is_empty() {
            self.set(key, items);
        }
    }
}

/// Whole seconds as such.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => json!(time.as_secs()),
        _ => json!(time.as_secs_f64()),
    }
}

fn service(service: &Capacity) -> Map<String, Value> {
    let default = Capacity::default();
    let mut keys = Keys::default();
    let gpus = service.gpus.iter();
    keys.filled(
        "gpus",
        gpus.map(|(kind, count)| (kind.clone(), json!(count)))
            .collect(),
    );
    keys.may("sandboxes", service.sandboxes);
    keys.unless(
        "image_build",
        seconds(service.image_build),
        seconds(default.image_build),
    );
    keys.unless("image_build_fails", service.image_build_fails, false);
    keys.unless(
        "latency",
        seconds(service.latency),
        seconds(default.latency),
    );
    let (own, usual) = (service.token_lifetime, default.token_lifetime);
    keys.unless("token_lifetime", seconds(own), seconds(usual));
    keys.0
}

fn attempts_of(attempts: &[Behaviour]) -> Value {
    match attempts {
        [only] => Value::Object(behaviour(only)),
        several => several.iter().map(behaviour).collect(),
    }
}

fn behaviour(behaviour: &Behaviour) -> Map<String, Value> {
    let default = Behaviour::default();
    let time_or = |time: Option<Duration>, never| time.map_or(json!(never), seconds);
    let mut keys = Keys::default();
    let starts_after = |of: &Behaviour| time_or(of.starts_after, "never");
    keys.unless(
        "starts_after",
        starts_after(behaviour),
        starts_after(&default),
    );
    let runs = |of: &Behaviour| time_or(of.runs, "forever");
    keys.unless("runs", runs(behaviour), runs(&default));
    match &behaviour.end {
        End::Exit(code) => keys.unless("exit", *code, 0),
        End::Signal(signal) => keys.set("signal", *signal),
        End::Lost => keys.set("ends", "lost"),
        End::Evicted => keys.set("ends", "evicted"),
        End::NeverRan(reason) => keys.set("cannot_start", reason.as_str()),
    }
    keys.list("output", behaviour.output.iter().map(written));
    keys.unless(
        "lingers",
        seconds(behaviour.lingers),
        seconds(default.lingers),
    );
    keys.0
}

fn written(written: &Written) -> Value {
    let mut keys = Keys::default();
    keys.unless("after", seconds(written.after), seconds(Duration::ZERO));
    let stream = match written.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    keys.set(stream, String::from_utf8_lossy(&written.data));
    Value::Object(keys.0)
}

fn fault(fault: &Fault) -> Value {
    let mut keys = Keys::default();
    match fault {
        Fault::Call { calls, what } => {
            let (kind, detail) = call_fault(*what);
            keys.set("fault", kind);
            if let Rpc::Named(method) = &calls.rpc {
                keys.set("call", method.as_str());
            }
            when(&mut keys, &calls.when);
            if let Some((key, time)) = detail {
                keys.set(key, seconds(time));
            }
        }
        Fault::Store { call, when, what } => {
            let kind = match what {
                StoreFault::Fails => "store_fails",
                StoreFault::Stalls(_) => "store_stalls",
            };
            keys.set("fault", kind);
            keys.may("operation", call.map(|call| call.word()));
            occasion(&mut keys, *when);
            if let StoreFault::Stalls(time) = what {
                keys.set("seconds", seconds(*time));
            }
        }
        Fault::Sandbox {
            step,
            attempt,
            what,
        } => {
            let (kind, after) = match what {
                SandboxFault::NeverStarts => ("never_starts", None),
                SandboxFault::Hangs => ("hangs", None),
                SandboxFault::Dies(after) => ("dies", Some(after)),
                SandboxFault::Evicted(after) => ("evicted", Some(after)),
                SandboxFault::Lost(after) => ("lost_sandbox", Some(after)),
            };
            keys.set("fault", kind);
            keys.set("step", step.as_str());
            keys.may("attempt", *attempt);
            keys.may("after", after.copied().map(seconds));
        }
        Fault::Kill {
            at,
            moment,
            restart_after,
        } => {
            keys.set("fault", "killed");
            match at {
                When::Nth(which) => keys.set("nth", which.nth),
                When::Between { from, .. } => keys.set("at", seconds(*from)),
            }
            keys.unless("moment", moment.word(), Moment::Before.word());
            keys.unless("restart_after", seconds(*restart_after), json!(1));
        }
        Fault::ClockJump { at, by_seconds } => {
            keys.set("fault", "clock_jump");
            keys.set("at", seconds(*at));
            keys.set("by", *by_seconds);
        }
    }
    Value::Object(keys.0)
}

fn call_fault(what: CallFault) -> (&'static str, Option<(&'static str, Duration)>) {
    let plain = |kind| (kind, None);
    match what {
        CallFault::LostRequest => plain("lost_request"),
        CallFault::LostReply => plain("lost_reply"),
        CallFault::Duplicate => plain("duplicate"),
        CallFault::DelayedRequest(time) => ("delayed_request", Some(("seconds", time))),
        CallFault::DelayedReply(time) => ("delayed_reply", Some(("seconds", time))),
        CallFault::Overtaken => plain("overtaken"),
        CallFault::ResetRequest => plain("reset_request"),
        CallFault::ResetReply => plain("reset_reply"),
        CallFault::Throttled(None) => plain("throttled"),
        CallFault::Throttled(Some(time)) => ("throttled", Some(("retry_after", time))),
        CallFault::Unavailable => plain("unavailable"),
        CallFault::ExpiredToken => plain("expired_token"),
    }
}

fn when(keys: &mut Keys, when: &When) {
    match when {
        When::Nth(which) => occasion(keys, *which),
        When::Between { from, to } => {
            keys.set("from", seconds(*from));
            if *to != Duration::MAX {
                keys.set("to", seconds(*to));
            }
        }
    }
}

fn occasion(keys: &mut Keys, which: Occasion) {
    keys.unless("nth", which.nth, 1);
    keys.unless("times", which.times, 1);
}

fn chance(chance: &Chance) -> Map<String, Value> {
    let mut keys = Keys::default();
    keys.unless("calls", chance.calls, 0.0);
    keys.unless("store", chance.store, 0.0);
    keys.unless("sandboxes", chance.sandboxes, 0.0);
    keys.unless("kills", chance.kills, 0);
    keys.unless("clock_jumps", chance.clock_jumps, 0);
    keys.0
}

fn expectations(expect: &Expectations) -> Map<String, Value> {
    let mut keys = Keys::default();
    let run = expect.run.and_then(|run| {
        let known = RUN_ENDS.iter().find(|(_, end)| *end == run);
        known.map(|(word, _)| *word)
    });
    keys.may("run", run);
    keys.may("error", expect.error.as_deref());
    keys.filled(
        "steps",
        object(&expect.steps, |status| json!(status.word())),
    );
    keys.filled("attempts", object(&expect.attempts, |count| json!(count)));
    keys.filled("exit_codes", object(&expect.exit_codes, |code| json!(code)));
    keys.filled("reasons", object(&expect.reasons, |text| json!(text)));
    keys.list("order", expect.order.iter().map(milestone));
    let events = expect.events.as_ref();
    keys.may(
        "events",
        events.map(|events| events.iter().map(milestone).collect::<Value>()),
    );
    keys.list("warnings", expect.warnings.iter().map(|text| json!(text)));
    keys.filled("output", object(&expect.output, |text| json!(text)));
    let count = |count: &Range<u64>| range(*count, |number| json!(number));
    keys.filled("calls", object(&expect.calls, count));
    keys.may("sandboxes", expect.sandboxes.as_ref().map(count));
    keys.may(
        "duration",
        expect.duration.map(|duration| range(duration, seconds)),
    );
    keys.may("most_running", expect.most_running.as_ref().map(count));
    let mut metadata = Keys::default();
    metadata.filled("run", expect.run_metadata.clone());
    metadata.filled("steps", object(&expect.step_metadata, |facts| json!(facts)));
    keys.filled("metadata", metadata.0);
    keys.0
}

fn object<T>(
    map: &std::collections::BTreeMap<String, T>,
    value: impl Fn(&T) -> Value,
) -> Map<String, Value> {
    map.iter()
        .map(|(key, of)| (key.clone(), value(of)))
        .collect()
}

fn milestone(milestone: &Milestone) -> Value {
    json!(milestone.to_string())
}

impl std::fmt::Display for Milestone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.step)?;
        if let Some(attempt) = self.attempt {
            write!(f, "#{attempt}")?;
        }
        let passed = match self.passed {
            Passed::Started => "started",
            Passed::Finished => "finished",
            Passed::Ended(status) => status.word(),
        };
        write!(f, " {passed}")
    }
}

fn range<T: PartialEq + Copy>(range: Range<T>, value: impl Fn(T) -> Value) -> Value {
    if let Some(exact) = range.least.filter(|_| range.least == range.most) {
        return value(exact);
    }
    let mut keys = Keys::default();
    keys.may("at_least", range.least.map(&value));
    keys.may("at_most", range.most.map(&value));
    Value::Object(keys.0)
}
