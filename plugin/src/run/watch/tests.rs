//! The strategy against a simulated server, in virtual time.

use super::course::Key;
use super::state::{PageOf, Question, Watching};
use crate::limits;
use crate::modal::CallError;
use crate::modal::result::Ending;
use crate::modal::sandbox::{Listed, SandboxHandle};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);

/// From a question to its answer.
const ROUND_TRIP: Duration = Duration::from_millis(30);

/// What the server is like.
#[derive(Clone, Copy)]
struct Server {
    page: usize,
    listings: Listings,
    /// Whether questions about single sandboxes fail in passing.
    answers: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Listings {
    Right,
    /// Nothing in them ever ends.
    WithoutResults,
    /// Every third sandbox is missing.
    Patchy,
    Unimplemented,
}

const GOOD: Server = Server {
    page: 100,
    listings: Listings::Right,
    answers: true,
};

struct Simulation {
    server: Server,
    /// Creation and end of each sandbox, by number.
    lives: Vec<(Duration, Duration)>,
    state: Watching,
    keys: HashMap<Key, usize>,
    /// Answers on their way.
    answers: BinaryHeap<Reverse<(Duration, u64)>>,
    contents: BTreeMap<u64, Question>,
    put: u64,
    calls: u64,
    /// From the end of a sandbox until that was known.
    reactions: Vec<Duration>,
    errors: Vec<CallError>,
}

impl Simulation {
    fn run(server: Server, lives: Vec<(Duration, Duration)>) -> Self {
        let mut simulation = Self {
            server,
            state: Watching::new(Duration::ZERO),
            keys: HashMap::new(),
            answers: BinaryHeap::new(),
            contents: BTreeMap::new(),
            put: 0,
            calls: 0,
            reactions: Vec::new(),
            errors: Vec::new(),
            lives,
        };
        simulation.live();
        simulation
    }

    fn live(&mut self) {
        let mut order: Vec<usize> = (0..self.lives.len()).collect();
        order.sort_by_key(|number| Reverse(self.lives[*number].0));
        let mut now = Duration::ZERO;
        while !order.is_empty() || !self.keys.is_empty() {
            assert!(now < 10_000 * SECOND, "{} are never told", self.keys.len());
            for question in self.state.questions(now) {
                self.put(question, now);
            }
            let wakes_at = self
                .state
                .wakes_at(now)
                .map(|at| at.max(now + limits::WATCH_TICK));
            let created = order.last().map(|number| self.lives[*number].0);
            let answered = self.answers.peek().map(|Reverse((at, _))| *at);
            now = [wakes_at, created, answered]
                .into_iter()
                .flatten()
                .min()
                .unwrap();
            while let Some(number) = order.pop_if(|number| self.lives[*number].0 <= now) {
                let sandbox = SandboxHandle::attached(format!("sb-{number}"));
                let mark = self.state.not_before("ap");
                let key = self.state.add(sandbox, "ap", mark, now);
                self.keys.insert(key, number);
            }
            while self
                .answers
                .peek()
                .is_some_and(|Reverse((at, _))| *at <= now)
            {
                let Some(Reverse((_, put))) = self.answers.pop() else {
                    break;
                };
                let question = self.contents.remove(&put).unwrap();
                self.answer(question, now);
            }
        }
    }

    fn put(&mut self, question: Question, now: Duration) {
        self.calls += 1;
        let hold = match &question {
            Question::Sandbox { key, hold, .. } if self.server.answers => {
                let end = self
                    .keys
                    .get(key)
                    .map_or(now, |number| self.lives[*number].1);
                end.saturating_sub(now).min(Duration::from_secs_f32(*hold))
            }
            _ => Duration::ZERO,
        };
        self.answers
            .push(Reverse((now + hold + ROUND_TRIP, self.put)));
        self.contents.insert(self.put, question);
        self.put += 1;
    }

    fn answer(&mut self, question: Question, now: Duration) {
        let told = match question {
            Question::Sandbox { key, .. } => {
                let number = self.keys.get(&key).copied();
                let answer = match self.server.answers {
                    true => Ok(number.and_then(|number| self.ending(number, now))),
                    false => Err(failure(Code::Unavailable)),
                };
                self.state.answered(key, answer, now).into_iter().collect()
            }
            Question::Page { page, .. } => {
                let answer = match self.server.listings {
                    Listings::Unimplemented => Err(failure(Code::Unimplemented)),
                    _ => Ok(self.page(page, now)),
                };
                self.state.listed(page, answer, now)
            }
        };
        for (key, answer) in told {
            let number = self.keys.remove(&key).expect("told once");
            match answer {
                Ok(_) => self
                    .reactions
                    .push(now.saturating_sub(self.lives[number].1)),
                Err(error) => self.errors.push(error),
            }
        }
    }

    fn ending(&self, number: usize, now: Duration) -> Option<Ending> {
        (self.lives[number].1 <= now).then_some(Ending::Exited { code: 0 })
    }

    fn page(&self, page: PageOf, now: Duration) -> Vec<Listed> {
        // Numbers are in the order of creation.
        let created = self.lives.iter().enumerate().rev();
        created
            .filter(|(number, _)| self.server.listings != Listings::Patchy || number % 3 > 0)
            .filter(|(_, (created, _))| *created <= now)
            .map(|(number, (created, _))| {
                // No two of one moment.
                (number, 1e9 + created.as_secs_f64() + number as f64 * 1e-6)
            })
            .skip_while(|(_, created_at)| page.before().is_some_and(|before| *created_at >= before))
            .map(|(number, created_at)| Listed {
                id: format!("sb-{number}"),
                name: None,
                tags: Vec::new(),
                created_at,
                ending: match self.server.listings {
                    Listings::WithoutResults => None,
                    _ => self.ending(number, now),
                },
            })
            .take(self.server.page)
            .collect()
    }

    fn slowest(&self) -> Duration {
        self.reactions.iter().copied().max().unwrap()
    }

    /// Calls per running sandbox and second.
    fn rate(&self) -> f64 {
        let lived = self.lives.iter().map(|(from, to)| *to - *from);
        self.calls as f64 / lived.sum::<Duration>().as_secs_f64()
    }
}

/// So many sandboxes, created within a second, that end spread over a time.
fn lives(count: u32, shortest: Duration, spread: Duration) -> Vec<(Duration, Duration)> {
    let life = |number| {
        let created = SECOND * number / count;
        // Neighbours end far apart.
        let place = number * 7919 % count;
        (created, created + shortest + spread * place / count)
    };
    (0..count).map(life).collect()
}

fn failure(code: Code) -> CallError {
    CallError::Status {
        operation: "X",
        code,
        message: String::new(),
        retry_after: None,
    }
}

#[test]
fn the_few_are_known_at_once() {
    for count in [1, 10, 50, 60] {
        let outcome = Simulation::run(GOOD, lives(count, 5 * SECOND, 40 * SECOND));
        assert!(
            outcome.slowest() <= ROUND_TRIP,
            "{count}: {:?}",
            outcome.slowest()
        );
        // One in ten seconds each, the first at once.
        assert!(
            outcome.calls <= u64::from(count) * 5,
            "{count}: {}",
            outcome.calls
        );
    }
}

#[test]
fn the_many_are_known_within_a_second_for_few_calls() {
    for (count, page) in [(200, 100), (1000, 100), (1000, 50), (5000, 100)] {
        let server = Server { page, ..GOOD };
        let lives = lives(count, 10 * SECOND, 30 * SECOND);
        let outcome = Simulation::run(server, lives);
        assert!(
            outcome.slowest() < SECOND,
            "{count}: {:?}",
            outcome.slowest()
        );
        let most = if count < 1000 { 0.15 } else { 0.1 };
        assert!(outcome.rate() < most, "{count}: {}", outcome.rate());
    }
}

#[test]
fn one_short_one_after_the_other_is_known_soon() {
    let lives = (0..500).map(|number| {
        let created = Duration::from_millis(50) * number;
        (created, created + Duration::from_millis(10))
    });
    let outcome = Simulation::run(GOOD, lives.collect());
    let soon = limits::LIST_PAUSE.0 + 2 * ROUND_TRIP;
    assert!(outcome.slowest() <= soon, "{:?}", outcome.slowest());
}

/// As in a chain of steps that do nothing.
#[test]
fn short_ones_one_after_the_other_are_known_at_once() {
    let lives = (0..1000).map(|number| {
        let created = Duration::from_millis(5) * number;
        (created, created)
    });
    let outcome = Simulation::run(GOOD, lives.collect());
    assert!(
        outcome.slowest() <= 2 * ROUND_TRIP,
        "{:?}",
        outcome.slowest()
    );
}

#[test]
fn short_ones_cost_next_to_nothing() {
    let lives = lives(2000, Duration::ZERO, Duration::ZERO);
    let outcome = Simulation::run(GOOD, lives);
    assert!(outcome.calls < 400, "{}", outcome.calls);
    assert!(outcome.slowest() < SECOND, "{:?}", outcome.slowest());
}

#[test]
fn what_listings_lack_is_asked_about() {
    let server = Server {
        listings: Listings::Patchy,
        ..GOOD
    };
    let outcome = Simulation::run(server, lives(600, 5 * SECOND, 30 * SECOND));
    assert!(outcome.rate() < 0.2, "{}", outcome.rate());
    assert!(
        outcome.slowest() < limits::ASK_EVERY,
        "{:?}",
        outcome.slowest()
    );
}

#[test]
fn listings_without_results_cost_a_minute_and_not_the_run() {
    let server = Server {
        listings: Listings::WithoutResults,
        ..GOOD
    };
    let outcome = Simulation::run(server, lives(500, 5 * SECOND, 30 * SECOND));
    assert!(
        outcome.slowest() < limits::ASK_EVERY + SECOND,
        "{:?}",
        outcome.slowest()
    );
}

#[test]
fn without_listings_all_take_turns() {
    let server = Server {
        listings: Listings::Unimplemented,
        ..GOOD
    };
    let outcome = Simulation::run(server, lives(1000, 5 * SECOND, 30 * SECOND));
    // The first ones were few, and are asked about for long.
    assert!(outcome.slowest() < 6 * SECOND, "{:?}", outcome.slowest());
}

#[test]
fn only_long_silence_gives_a_sandbox_up() {
    let server = Server {
        listings: Listings::Unimplemented,
        answers: false,
        ..GOOD
    };
    let outcome = Simulation::run(server, vec![(SECOND, 2 * SECOND); 3]);
    assert_eq!(outcome.errors.len(), 3);
    let silence = limits::STATUS_PATIENCE.as_secs() / limits::PATIENT_PAUSE.1.as_secs();
    let questions = outcome.calls / 3;
    assert!(
        questions > silence && questions < 2 * silence,
        "{questions}"
    );
}

#[test]
fn an_answer_that_will_not_change_gives_it_up_at_once() {
    let mut state = Watching::new(SECOND);
    let sandbox = SandboxHandle::attached("sb-1".into());
    let key = state.add(sandbox, "ap", 0.0, SECOND);
    assert_eq!(state.questions(SECOND).len(), 1);
    let gone = failure(Code::NotFound);
    let told = state.answered(key, Err(gone.clone()), SECOND);
    assert_eq!(told, Some((key, Err(gone))));
    assert!(state.questions(10 * SECOND).is_empty());
    assert_eq!(state.wakes_at(10 * SECOND), None);
}

#[test]
fn late_answers_about_what_is_no_longer_watched_change_nothing() {
    let mut state = Watching::new(SECOND);
    let key = state.add(SandboxHandle::attached("sb-1".into()), "ap", 0.0, SECOND);
    state.questions(SECOND);
    state.remove(key);
    let ended = Ok(Some(Ending::Exited { code: 0 }));
    assert_eq!(state.answered(key, ended, 2 * SECOND), None);
    // Its place is free again, once.
    for number in 0..limits::HOLDS_AT_ONCE {
        state.add(
            SandboxHandle::attached(format!("sb-x{number}")),
            "ap",
            0.0,
            SECOND,
        );
    }
    assert_eq!(state.questions(SECOND).len(), limits::HOLDS_AT_ONCE);
}
