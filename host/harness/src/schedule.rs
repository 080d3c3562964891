//! What goes wrong when: by script and by seed.

use crate::chance::{Dice, Throw};
use crate::limits;
use crate::scenario::{
    CallFault, Calls, Chance, Fault, Moment, Occasion, Rpc, SandboxFault, Scenario, StoreCall,
    StoreFault, When,
};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Counts what happens in a run, and says what is to go wrong.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// By script, and what chance decides about a run as a whole.
    faults: Vec<Fault>,
    chance: Chance,
    dice: Dice,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<String, u64>,
    all_calls: u64,
    store_calls: BTreeMap<StoreCall, u64>,
    all_store_calls: u64,
    imports: u64,
    happened: Vec<Fault>,
    /// By the index of their faults.
    kills_done: Vec<usize>,
}

/// One call to the service.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    /// Its number among those of its method, counted from 1.
    pub(crate) number: u64,
    /// How it goes wrong.
    pub(crate) fault: Option<CallFault>,
}

/// The death of a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) moment: Moment,
    pub(crate) restart_after: Duration,
}

impl Schedule {
    pub(crate) fn new(scenario: &Scenario, seed: u64) -> Self {
        let dice = Dice::new(seed);
        let mut faults = scenario.faults.clone();
        faults.extend(kills(dice, scenario.chance));
        faults.extend(clock_jumps(dice, scenario.chance));
        faults.extend(window(dice, scenario.chance));
        Self {
            faults,
            chance: scenario.chance,
            dice,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call to the service that leaves now.
    pub(crate) fn call(&self, method: &str, now: Duration) -> Call {
        let mut state = self.lock();
        state.all_calls = state.all_calls.saturating_add(1);
        let all = state.all_calls;
        let number = match state.calls.get_mut(method) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count
            }
            None => {
                state.calls.insert(method.to_owned(), 1);
                1
            }
        };
        let scripted = self.faults.iter().find_map(|fault| match fault {
            Fault::Call { calls, what } => {
                let number = match &calls.rpc {
                    Rpc::Any => all,
                    Rpc::Named(name) if name == method => number,
                    Rpc::Named(_) => return None,
                };
                is_now(&calls.when, number, now).then(|| (fault.clone(), *what))
            }
            _ => None,
        });
        let (happened, fault) = match scripted.or_else(|| self.call_by_chance(method, number)) {
            Some((happened, fault)) => (happened, fault),
            None => {
                return Call {
                    number,
                    fault: None,
                };
            }
        };
        note(&mut state, happened);
        Call {
            number,
            fault: Some(fault),
        }
    }

    fn call_by_chance(&self, method: &str, number: u64) -> Option<(Fault, CallFault)> {
        if self.chance.calls <= 0.0 {
            return None;
        }
        let mut throw = self.dice.throw(method, number);
        if !throw.happens(self.chance.calls) {
            return None;
        }
        let what = call_fault(&mut throw);
        let calls = Calls {
            rpc: Rpc::Named(method.to_owned()),
            when: When::Nth(Occasion::only(number)),
        };
        Some((Fault::Call { calls, what }, what))
    }

    /// Counts a call to the run store.
    pub(crate) fn store_call(&self, call: StoreCall) -> Option<StoreFault> {
        let mut state = self.lock();
        state.all_store_calls = state.all_store_calls.saturating_add(1);
        let all = state.all_store_calls;
        let count = state.store_calls.entry(call).or_default();
        *count = count.saturating_add(1);
        let number = *count;
        let scripted = self.faults.iter().find_map(|fault| match fault {
            Fault::Store {
                call: wanted,
                when,
                what,
            } => {
                let number = match wanted {
                    None => all,
                    Some(wanted) if *wanted == call => number,
                    Some(_) => return None,
                };
                when.includes(number).then(|| (fault.clone(), *what))
            }
            _ => None,
        });
        let (happened, fault) = scripted.or_else(|| self.store_by_chance(call, number))?;
        note(&mut state, happened);
        Some(fault)
    }

    fn store_by_chance(&self, call: StoreCall, number: u64) -> Option<(Fault, StoreFault)> {
        // Without its question for stops a controller cannot be stopped, and says so
        // by ending; nothing is learnt from it again and again.
        if self.chance.store <= 0.0 || call == StoreCall::WaitForStop {
            return None;
        }
        let mut throw = self.dice.throw(&format!("store {call:?}"), number);
        if !throw.happens(self.chance.store) {
            return None;
        }
        let what = match throw.below(4) {
            0 => StoreFault::Fails,
            _ => StoreFault::Stalls(throw.millis(limits::LONGEST_DELAY_MILLIS)),
        };
        let fault = Fault::Store {
            call: Some(call),
            when: Occasion::only(number),
            what,
        };
        Some((fault, what))
    }

    /// What befalls the sandbox of an attempt.
    pub(crate) fn sandbox(&self, step: &str, attempt: u32) -> Option<SandboxFault> {
        let scripted = self.faults.iter().find_map(|fault| match fault {
            Fault::Sandbox {
                step: wanted,
                attempt: of,
                what,
            } if wanted == step && of.is_none_or(|of| of == attempt) => {
                Some((fault.clone(), *what))
            }
            _ => None,
        });
        let (happened, fault) = scripted.or_else(|| self.sandbox_by_chance(step, attempt))?;
        note(&mut self.lock(), happened);
        Some(fault)
    }

    fn sandbox_by_chance(&self, step: &str, attempt: u32) -> Option<(Fault, SandboxFault)> {
        if self.chance.sandboxes <= 0.0 {
            return None;
        }
        let mut throw = self.dice.throw(&format!("sandbox {step}"), attempt.into());
        if !throw.happens(self.chance.sandboxes) {
            return None;
        }
        let after = throw.millis(limits::LONGEST_DELAY_MILLIS);
        let what = match throw.below(5) {
            0 => SandboxFault::NeverStarts,
            1 => SandboxFault::Hangs,
            2 => SandboxFault::Dies(after),
            3 => SandboxFault::Evicted(after),
            _ => SandboxFault::Lost(after),
        };
        let fault = Fault::Sandbox {
            step: step.to_owned(),
            attempt: Some(attempt),
            what,
        };
        Some((fault, what))
    }

    /// Counts an import call, and says whether the controller dies at it.
    pub(crate) fn import(&self, now: Duration) -> (u64, Option<Kill>) {
        let mut state = self.lock();
        state.imports = state.imports.saturating_add(1);
        let number = state.imports;
        let mut faults = self.faults.iter().enumerate();
        let kill = faults.find_map(|(index, fault)| match fault {
            Fault::Kill {
                at,
                moment,
                restart_after,
            } if is_now(at, number, now) && !state.kills_done.contains(&index) => {
                let kill = Kill {
                    moment: *moment,
                    restart_after: *restart_after,
                };
                Some((
                    index,
                    fault.clone(),
                    matches!(at, When::Between { .. }),
                    kill,
                ))
            }
            _ => None,
        });
        let Some((index, fault, once, kill)) = kill else {
            return (number, None);
        };
        if once {
            state.kills_done.push(index);
        }
        note(&mut state, fault);
        (number, Some(kill))
    }

    /// The jumps of the wall clock, by script and by chance.
    pub(crate) fn clock_jumps(&self) -> Vec<(Duration, f64)> {
        let jumps = self.faults.iter().filter_map(|fault| match fault {
            Fault::ClockJump { at, by_seconds } => Some((*at, *by_seconds)),
            _ => None,
        });
        jumps.collect()
    }

    /// How often each method of the service was called.
    pub(crate) fn calls(&self) -> BTreeMap<String, u64> {
        self.lock().calls.clone()
    }

    /// What went wrong before a moment, in the order in which it did.
    pub(crate) fn happened(&self, end: Duration) -> Vec<Fault> {
        let mut happened = self.lock().happened.clone();
        let jumps = self
            .faults
            .iter()
            .filter(|fault| matches!(fault, Fault::ClockJump { at, .. } if *at <= end));
        happened.extend(jumps.cloned());
        happened
    }
}

fn note(state: &mut State, fault: Fault) {
    if !state.happened.contains(&fault) {
        state.happened.push(fault);
    }
}

fn is_now(when: &When, number: u64, now: Duration) -> bool {
    match when {
        When::Nth(occasion) => occasion.includes(number),
        When::Between { from, to } => *from <= now && now < *to,
    }
}

/// How a call goes wrong, by chance.
fn call_fault(throw: &mut Throw) -> CallFault {
    let kinds = [
        CallFault::LostRequest,
        CallFault::LostReply,
        CallFault::Duplicate,
        CallFault::DelayedRequest(throw.millis(limits::LONGEST_DELAY_MILLIS)),
        CallFault::DelayedReply(throw.millis(limits::LONGEST_DELAY_MILLIS)),
        CallFault::Overtaken,
        CallFault::ResetRequest,
        CallFault::ResetReply,
        CallFault::Throttled(None),
        CallFault::Throttled(Some(throw.millis(limits::LONGEST_THROTTLE_MILLIS))),
        CallFault::Unavailable,
        CallFault::Unavailable,
        CallFault::ExpiredToken,
    ];
    throw
        .pick(&kinds)
        .copied()
        .unwrap_or(CallFault::Unavailable)
}

fn kills(dice: Dice, chance: Chance) -> Vec<Fault> {
    let kills = (0..u64::from(chance.kills)).filter_map(|number| {
        let mut throw = dice.throw("kill", number);
        throw.happens(0.5).then(|| {
            let mut more = dice.throw("kill, when", number);
            Fault::Kill {
                at: When::Nth(Occasion::only(1 + throw.below(limits::KILL_WITHIN_CALLS))),
                moment: match more.happens(0.5) {
                    true => Moment::Before,
                    false => Moment::After,
                },
                restart_after: more.millis(limits::LONGEST_ABSENCE_MILLIS),
            }
        })
    });
    kills.collect()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "some thousand seconds are exact"
)]
fn clock_jumps(dice: Dice, chance: Chance) -> Vec<Fault> {
    let jumps = (0..u64::from(chance.clock_jumps)).filter_map(|number| {
        let mut throw = dice.throw("clock", number);
        throw.happens(0.5).then(|| {
            let seconds = (1 + throw.below(limits::CLOCK_JUMP_SECONDS)) as f64;
            let mut more = dice.throw("clock, when", number);
            Fault::ClockJump {
                at: more.millis(limits::CLOCK_JUMP_WITHIN_MILLIS),
                by_seconds: match more.happens(0.5) {
                    true => seconds,
                    false => -seconds,
                },
            }
        })
    });
    jumps.collect()
}

/// A time in which the service is not available at all, now and then.
fn window(dice: Dice, chance: Chance) -> Option<Fault> {
    let mut throw = dice.throw("window", 0);
    if chance.calls <= 0.0 || !throw.happens(0.2) {
        return None;
    }
    let from = throw.millis(limits::CLOCK_JUMP_WITHIN_MILLIS);
    let to = from.saturating_add(throw.millis(limits::LONGEST_DELAY_MILLIS));
    Some(Fault::Call {
        calls: Calls {
            rpc: Rpc::Any,
            when: When::Between { from, to },
        },
        what: CallFault::Unavailable,
    })
}
