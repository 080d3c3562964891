//! Which sandbox is asked about when, and how. Pure: it is told what happened
//! and when, and gives questions.
//!
//! A few sandboxes are asked about one by one, with questions that the server
//! holds until there is an answer: an end is known at once. Many are found in
//! listings. The listing is a hint: what it says has ended has ended, but what
//! is not in it is asked about, and each sandbox is asked about now and then
//! whatever listings say.

use super::course::{Course, Item, Key, PageRequest, Sought};
use super::pace::Pace;
use crate::limits;
use crate::modal::CallError;
use crate::modal::result::Ending;
use crate::modal::retry::doubled;
use crate::modal::sandbox::{Listed, SandboxHandle};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
use tonic::Code;

/// What is known about the sandboxes that are watched.
#[derive(Debug)]
pub(super) struct Watching {
    entries: HashMap<Key, Entry>,
    by_id: HashMap<String, Key>,
    apps: Vec<App>,
    /// Not being asked about, in the order of their turns.
    idle: BTreeSet<(u64, Key)>,
    /// When each that is not being asked about has to be.
    due: BTreeSet<(Duration, Key)>,
    held: usize,
    asked: usize,
    next_key: Key,
    next_turn: u64,
    pace: Pace,
    /// Questions that may be held from now on.
    holds: Allowance,
    pass: Option<Pass>,
    passes: u64,
    /// Items in the longest page so far.
    page: usize,
    /// Pages of the last pass.
    pages: u32,
    /// Whether the server has listings to offer.
    lists: bool,
}

#[derive(Debug)]
struct App {
    id: String,
    /// The newest creation in any listing.
    newest: f64,
}

#[derive(Debug)]
struct Entry {
    sandbox: SandboxHandle,
    app: usize,
    since: Duration,
    stands: Stands,
    turn: u64,
    state: State,
    due: Duration,
    answered: Duration,
    failures: u32,
    /// Listings in a row that it was not in.
    absences: u32,
    /// Whether a question about it has been held before.
    was_held: bool,
}

/// Where a sandbox stands in listings: when the server created it.
#[derive(Debug, Clone, Copy)]
enum Stands {
    At(f64),
    After(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A question failed; the next one has to wait.
    Resting,
    Asked,
    Held,
}

/// Listings of all apps under way.
#[derive(Debug)]
struct Pass {
    number: u64,
    courses: Vec<(usize, Course)>,
    ends: usize,
}

/// Something to ask the server.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Question {
    /// Whether one sandbox has ended; held for so many seconds.
    Sandbox {
        /// Goes with the answer.
        key: Key,
        /// Which.
        sandbox: SandboxHandle,
        /// Seconds; 0 for an answer at once.
        hold: f32,
    },
    /// A page of the listing of an app.
    Page {
        /// Goes with the answer.
        page: PageOf,
        /// Which app.
        app_id: String,
    },
}

/// Names a page that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PageOf {
    pass: u64,
    course: usize,
    app: usize,
    request: PageRequest,
}

impl PageOf {
    /// The moment that the page begins before; none: the newest page.
    pub(super) fn before(&self) -> Option<f64> {
        self.request.before
    }
}

/// The end of a sandbox, or why nothing can be learned about it.
pub(super) type Told = (Key, Result<Ending, CallError>);

impl Watching {
    /// Watches nothing yet.
    pub(super) fn new(now: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            by_id: HashMap::new(),
            apps: Vec::new(),
            idle: BTreeSet::new(),
            due: BTreeSet::new(),
            held: 0,
            asked: 0,
            next_key: 0,
            next_turn: 0,
            pace: Pace::new(now),
            holds: Allowance::full(now),
            pass: None,
            passes: 0,
            page: limits::LIST_PAGE,
            pages: 1,
            lists: true,
        }
    }

    /// A moment before which nothing is created from now on, as far as the
    /// server's clocks agree. To be taken before a sandbox is created.
    pub(super) fn not_before(&self, app_id: &str) -> f64 {
        let app = self.apps.iter().find(|app| app.id == app_id);
        app.map_or(0.0, |app| app.newest - limits::LIST_SKEW.as_secs_f64())
    }

    /// Watches a sandbox from now on. It was created after `not_before`.
    pub(super) fn add(
        &mut self,
        sandbox: SandboxHandle,
        app_id: &str,
        not_before: f64,
        now: Duration,
    ) -> Key {
        let known = self.apps.iter().position(|app| app.id == app_id);
        let app = known.unwrap_or_else(|| {
            self.apps.push(App {
                id: app_id.to_owned(),
                newest: 0.0,
            });
            self.apps.len() - 1
        });
        let key = self.next_key;
        self.next_key += 1;
        self.by_id.insert(sandbox.id.clone(), key);
        self.entries.insert(
            key,
            Entry {
                sandbox,
                app,
                since: now,
                stands: Stands::After(not_before),
                turn: 0,
                state: State::Asked,
                due: now,
                answered: now,
                failures: 0,
                absences: 0,
                was_held: false,
            },
        );
        self.asked += 1;
        self.give_turn(key);
        self.come_to(key, State::Idle, now + limits::ASK_EVERY);
        key
    }

    /// Watches a sandbox no longer.
    pub(super) fn remove(&mut self, key: Key) {
        self.detach(key);
        if let Some(entry) = self.entries.remove(&key) {
            self.by_id.remove(&entry.sandbox.id);
        }
    }

    /// What is to be asked now.
    pub(super) fn questions(&mut self, now: Duration) -> Vec<Question> {
        let mut questions = Vec::new();
        while let Some((_, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            let question = match self.held < self.places() && self.holds_at(key, now) <= now {
                true => self.hold(key),
                false if self.asked < limits::ASKS_AT_ONCE => self.ask(key),
                false => break,
            };
            questions.extend(question);
        }
        while let Some(key) = self.next_to_hold(now) {
            questions.extend(self.hold(key));
        }
        if self.may_list() && self.pace.next(now, self.idle.len(), self.pages) <= now {
            self.begin_pass(now);
        }
        self.ask_for_pages(&mut questions);
        questions
    }

    /// When [`Self::questions`] has something new, if nothing happens until then.
    pub(super) fn wakes_at(&mut self, now: Duration) -> Option<Duration> {
        let listing = self
            .may_list()
            .then(|| self.pace.next(now, self.idle.len(), self.pages));
        let due = self.due.first().map(|(due, _)| *due);
        let may_hold = self.held < self.places();
        let may_ask = self.asked < limits::ASKS_AT_ONCE || may_hold;
        let oldest = self.idle.first().copied().filter(|_| may_hold);
        let promotion = oldest.and_then(|(_, key)| {
            let old_at = match self.are_few() {
                true => now,
                false => self.entries.get(&key)?.since + limits::HOLD_AFTER,
            };
            Some(old_at.max(self.holds_at(key, now)))
        });
        [listing, due.filter(|_| may_ask), promotion]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes in the answer to a question about one sandbox.
    pub(super) fn answered(
        &mut self,
        key: Key,
        answer: Result<Option<Ending>, CallError>,
        now: Duration,
    ) -> Option<Told> {
        self.detach(key);
        let entry = self.entries.get_mut(&key)?;
        match answer {
            Ok(Some(ending)) => {
                self.remove(key);
                if !self.idle.is_empty() {
                    self.pace.hint(now);
                }
                Some((key, Ok(ending)))
            }
            Ok(None) => {
                entry.answered = now;
                entry.failures = 0;
                // Without listings all take turns.
                if !self.lists {
                    self.give_turn(key);
                }
                self.come_to(key, State::Idle, now + limits::ASK_EVERY);
                None
            }
            Err(error) => {
                let silence = now.saturating_sub(entry.answered);
                if !is_passing(&error) || silence > limits::STATUS_PATIENCE {
                    self.remove(key);
                    return Some((key, Err(error)));
                }
                let (shortest, longest) = limits::PATIENT_PAUSE;
                let pause = doubled(shortest, entry.failures).min(longest);
                entry.failures = entry.failures.saturating_add(1);
                let pause = error.retry_after().unwrap_or(pause);
                self.come_to(key, State::Resting, now + pause);
                None
            }
        }
    }

    /// Takes in a page of a listing, or that there is none.
    pub(super) fn listed(
        &mut self,
        page: PageOf,
        answer: Result<Vec<Listed>, CallError>,
        now: Duration,
    ) -> Vec<Told> {
        let listed = match answer {
            Ok(listed) => listed,
            Err(error) => {
                self.lists &= is_passing(&error);
                if self.pass.take_if(|pass| pass.number == page.pass).is_some() {
                    self.pace.failed(now, error.retry_after());
                }
                return Vec::new();
            }
        };
        self.page = self.page.max(listed.len());
        let mut told = Vec::new();
        let items: Vec<Item> = listed
            .into_iter()
            .map(|one| self.take_in(one, page.app, now, &mut told))
            .collect();
        for (key, _) in &told {
            self.remove(*key);
        }
        let Some(pass) = self.pass.as_mut().filter(|pass| pass.number == page.pass) else {
            return told;
        };
        pass.ends += told.len();
        if let Some((_, course)) = pass.courses.get_mut(page.course) {
            course.page(page.request, &items);
        }
        if pass.courses.iter().all(|(_, course)| course.is_over()) {
            self.end_pass(now);
        }
        told
    }

    /// Notes what a listing says about one sandbox.
    fn take_in(&mut self, listed: Listed, app: usize, now: Duration, told: &mut Vec<Told>) -> Item {
        let created_at = listed.created_at;
        if let Some(app) = self.apps.get_mut(app) {
            app.newest = app.newest.max(created_at);
        }
        let key = self.by_id.get(&listed.id).copied();
        if let Some((key, entry)) = key.and_then(|key| Some((key, self.entries.get_mut(&key)?))) {
            entry.stands = Stands::At(created_at);
            entry.answered = now;
            entry.failures = 0;
            entry.absences = 0;
            if let Some(ending) = listed.ending {
                told.push((key, Ok(ending)));
            }
        }
        Item { key, created_at }
    }

    fn may_list(&self) -> bool {
        self.lists && self.pass.is_none() && !self.idle.is_empty()
    }

    fn begin_pass(&mut self, now: Duration) {
        let mut sought: Vec<Vec<Sought>> = self.apps.iter().map(|_| Vec::new()).collect();
        for (_, key) in &self.idle {
            let Some(entry) = self.entries.get(key) else {
                continue;
            };
            let one = match entry.stands {
                Stands::At(created_at) => Sought::Known {
                    key: *key,
                    created_at,
                },
                Stands::After(not_before) => Sought::New {
                    key: *key,
                    not_before,
                },
            };
            if let Some(sought) = sought.get_mut(entry.app) {
                sought.push(one);
            }
        }
        let courses = sought
            .into_iter()
            .enumerate()
            .filter(|(_, sought)| !sought.is_empty())
            .map(|(app, sought)| (app, Course::new(sought, self.page, limits::PAGES_AT_ONCE)));
        self.passes += 1;
        self.pass = Some(Pass {
            number: self.passes,
            courses: courses.collect(),
            ends: 0,
        });
        self.pace.began(now);
    }

    fn ask_for_pages(&mut self, questions: &mut Vec<Question>) {
        let Some(pass) = &mut self.pass else { return };
        for (index, (app, course)) in pass.courses.iter_mut().enumerate() {
            let Some(app_id) = self.apps.get(*app).map(|app| &app.id) else {
                continue;
            };
            while let Some(request) = course.next() {
                questions.push(Question::Page {
                    page: PageOf {
                        pass: pass.number,
                        course: index,
                        app: *app,
                        request,
                    },
                    app_id: app_id.clone(),
                });
            }
        }
    }

    fn end_pass(&mut self, now: Duration) {
        let Some(pass) = self.pass.take() else { return };
        self.pages = pass.courses.iter().map(|(_, course)| course.pages()).sum();
        self.pace.over(self.pages, pass.ends);
        let absent = pass.courses.iter().flat_map(|(_, course)| course.absent());
        for key in absent {
            let Some(entry) = self.entries.get_mut(&key) else {
                continue;
            };
            if entry.state != State::Idle {
                continue;
            }
            let pause = match entry.absences {
                0 => Duration::ZERO,
                times => doubled(limits::ABSENT_PAUSE, times - 1).min(limits::ASK_EVERY),
            };
            entry.absences = entry.absences.saturating_add(1);
            let due = (now + pause).min(entry.due);
            self.come_to(key, State::Idle, due);
        }
    }

    /// Questions that may be held at one time.
    fn places(&self) -> usize {
        match self.lists {
            true => limits::HOLDS_AT_ONCE,
            false => limits::TURNS_AT_ONCE,
        }
    }

    /// The next one for a question that is held: any while they are few, else
    /// one that has lived for a while. What ends soon is found in a listing
    /// together with others.
    fn next_to_hold(&mut self, now: Duration) -> Option<Key> {
        let (_, key) = self.idle.first().copied()?;
        if self.held >= self.places() || self.holds_at(key, now) > now {
            return None;
        }
        let old = || {
            let entry = self.entries.get(&key);
            entry.is_some_and(|entry| entry.since + limits::HOLD_AFTER <= now)
        };
        (self.are_few() || old()).then_some(key)
    }

    /// When a question about this sandbox may be held. In a narrow pipeline the
    /// first one at once: steps that end within a moment follow each other without
    /// a pause.
    fn holds_at(&mut self, key: Key, now: Duration) -> Duration {
        let is_first = self.entries.get(&key).is_some_and(|entry| !entry.was_held);
        match is_first && self.are_alone() {
            true => now,
            false => self.holds.some_at(now),
        }
    }

    fn are_alone(&self) -> bool {
        self.entries.len() <= limits::HOLDS_WITHOUT_A_PAUSE
    }

    fn are_few(&self) -> bool {
        !self.lists || self.idle.len() + self.held <= self.places()
    }

    fn hold(&mut self, key: Key) -> Option<Question> {
        let crowded = !self.lists && self.entries.len() > limits::TURNS_AT_ONCE;
        let hold = match crowded {
            true => limits::WAIT_HOLD_CROWDED,
            false => limits::WAIT_HOLD,
        };
        // Where there is nothing else, there is nothing to save.
        let entry = self.entries.get_mut(&key)?;
        let was_held = std::mem::replace(&mut entry.was_held, true);
        if self.lists && (was_held || !self.are_alone()) {
            self.holds.take();
        }
        self.come_to(key, State::Held, Duration::MAX);
        self.about(key, hold)
    }

    fn ask(&mut self, key: Key) -> Option<Question> {
        self.come_to(key, State::Asked, Duration::MAX);
        self.about(key, 0.0)
    }

    fn about(&self, key: Key, hold: f32) -> Option<Question> {
        let sandbox = self.entries.get(&key)?.sandbox.clone();
        Some(Question::Sandbox { key, sandbox, hold })
    }

    fn give_turn(&mut self, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.turn = self.next_turn;
            self.next_turn += 1;
        }
    }

    fn come_to(&mut self, key: Key, state: State, due: Duration) {
        self.detach(key);
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        (entry.state, entry.due) = (state, due);
        match state {
            State::Idle => {
                self.idle.insert((entry.turn, key));
                self.due.insert((due, key));
            }
            State::Resting => {
                self.due.insert((due, key));
            }
            State::Asked => self.asked += 1,
            State::Held => self.held += 1,
        }
    }

    /// Takes a sandbox out of all that its state put it into; it counts as
    /// resting then.
    fn detach(&mut self, key: Key) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        self.idle.remove(&(entry.turn, key));
        self.due.remove(&(entry.due, key));
        match entry.state {
            State::Asked => self.asked = self.asked.saturating_sub(1),
            State::Held => self.held = self.held.saturating_sub(1),
            State::Idle | State::Resting => {}
        }
        entry.state = State::Resting;
    }
}

/// Questions that may be held from now on.
#[derive(Debug)]
struct Allowance {
    left: f64,
    filled_at: Duration,
}

impl Allowance {
    fn full(now: Duration) -> Self {
        Self {
            left: limits::HOLDS_AT_ONCE as f64,
            filled_at: now,
        }
    }

    /// When there is one.
    fn some_at(&mut self, now: Duration) -> Duration {
        let rate = f64::from(limits::HOLD_RATE);
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.left = (self.left + passed * rate).min(limits::HOLDS_AT_ONCE as f64);
        self.filled_at = now;
        let wait = (1.0 - self.left).max(0.0) / rate;
        now + Duration::try_from_secs_f64(wait).unwrap_or_default()
    }

    fn take(&mut self) {
        self.left -= 1.0;
    }
}

/// A question may be repeated where an action may not: being throttled passes.
fn is_passing(error: &CallError) -> bool {
    error.is_transient()
        || error.retry_after().is_some()
        || error.is(Code::ResourceExhausted)
        || error.is(Code::Aborted)
}
