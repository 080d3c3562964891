//! One pass through the listing of an app. Pure: pages in, questions for pages
//! out, and at the end which sandboxes were not there.
//!
//! A listing comes in pages, newest first, and each page begins before the last
//! item of the one before it: read like that, a hundred pages take a hundred
//! round trips. But where a sandbox stands is known once it has been listed. So
//! only what is new is read page by page; what is known is cut into stretches of
//! about a page that are read side by side. Between two sandboxes that are
//! watched there may be thousands that have ended: gaps are jumped over.

use std::collections::{HashMap, VecDeque};

/// What a sandbox is known by here.
pub(super) type Key = u64;

/// Asks for the page that begins before this moment; none: the newest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PageRequest {
    /// Tells stretches apart.
    pub(super) stretch: usize,
    /// Seconds since 1970, as the server counts them.
    pub(super) before: Option<f64>,
}

/// One item of a page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    /// The sandbox, when it is watched.
    pub(super) key: Option<Key>,
    /// Seconds since 1970, as the server counts them.
    pub(super) created_at: f64,
}

/// A sandbox that a pass looks for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Sought {
    /// Where it stands.
    Known {
        /// Which.
        key: Key,
        /// When it was created.
        created_at: f64,
    },
    /// It was created after this moment, and has never been listed.
    New {
        /// Which.
        key: Key,
        /// No later than its creation.
        not_before: f64,
    },
}

/// A pass under way.
#[derive(Debug)]
pub(super) struct Course {
    stretches: Vec<Stretch>,
    /// Stretches that have not begun.
    waiting: VecDeque<usize>,
    /// New ones not found yet, and where the search for them ends.
    new: HashMap<Key, f64>,
    /// Known ones not found yet.
    known: HashMap<Key, f64>,
    under_way: usize,
    at_once: usize,
    pages: u32,
}

/// A part of the listing that is read page by page.
#[derive(Debug)]
struct Stretch {
    /// The known ones in it and where they stand, newest first.
    places: VecDeque<(f64, Key)>,
    before: Option<f64>,
    /// The newest part, in which all that is new must be.
    is_head: bool,
}

impl Course {
    /// A pass that looks for these. A page has about `page` items; at most
    /// `at_once` pages are asked for at one time.
    pub(super) fn new(
        sought: impl IntoIterator<Item = Sought>,
        page: usize,
        at_once: usize,
    ) -> Self {
        let (mut new, mut known) = (HashMap::new(), HashMap::new());
        let mut places = Vec::new();
        for one in sought {
            match one {
                Sought::Known { key, created_at } => {
                    known.insert(key, created_at);
                    places.push((created_at, key));
                }
                Sought::New { key, not_before } => {
                    new.insert(key, not_before);
                }
            }
        }
        places.sort_unstable_by(|(one, _), (other, _)| other.total_cmp(one));
        let mut stretches = Vec::new();
        if !new.is_empty() {
            stretches.push(Stretch {
                places: VecDeque::new(),
                before: None,
                is_head: true,
            });
        }
        for places in places.chunks(page.max(1)) {
            stretches.push(Stretch {
                before: places.first().map(|(newest, _)| newest.next_up()),
                places: places.iter().copied().collect(),
                is_head: false,
            });
        }
        Self {
            waiting: (0..stretches.len()).collect(),
            stretches,
            new,
            known,
            under_way: 0,
            at_once: at_once.max(1),
            pages: 0,
        }
    }

    /// The next page to ask for, unless enough are under way.
    pub(super) fn next(&mut self) -> Option<PageRequest> {
        if self.under_way >= self.at_once {
            return None;
        }
        let stretch = self.waiting.pop_front()?;
        self.under_way += 1;
        self.pages += 1;
        Some(PageRequest {
            stretch,
            before: self.stretches.get(stretch)?.before,
        })
    }

    /// Takes in an answer.
    pub(super) fn page(&mut self, request: PageRequest, items: &[Item]) {
        self.under_way = self.under_way.saturating_sub(1);
        for key in items.iter().filter_map(|item| item.key) {
            self.new.remove(&key);
            self.known.remove(&key);
        }
        let Some(last) = items.last().map(|item| item.created_at) else {
            // Nothing is older.
            return;
        };
        let Some(stretch) = self.stretches.get_mut(request.stretch) else {
            return;
        };
        let before = match stretch.is_head {
            true => {
                let end = self.new.values().copied().reduce(f64::min);
                end.filter(|end| *end < last)
                    .map(|_| again(last, request.before))
            }
            false => stretch.after(last, request.before, &self.known),
        };
        if let Some(before) = before {
            stretch.before = Some(before);
            self.waiting.push_front(request.stretch);
        }
    }

    /// Whether there is nothing left to ask or to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }

    /// Those that were not there. Whether they are gone only a question about
    /// each of them can tell.
    pub(super) fn absent(&self) -> impl Iterator<Item = Key> {
        self.new.keys().chain(self.known.keys()).copied()
    }

    /// Pages asked for so far.
    pub(super) fn pages(&self) -> u32 {
        self.pages
    }
}

impl Stretch {
    /// Where the next page begins after one that ended at `last`; none when
    /// nothing sought is further down.
    fn after(
        &mut self,
        last: f64,
        before: Option<f64>,
        missing: &HashMap<Key, f64>,
    ) -> Option<f64> {
        let again = again(last, before);
        let is_settled = |(place, key): &(f64, Key)| {
            *place > last || (*place == last && again == last) || !missing.contains_key(key)
        };
        while self.places.front().is_some_and(is_settled) {
            self.places.pop_front();
        }
        let (next, _) = self.places.front()?;
        Some(next.next_up().min(again))
    }
}

/// A page may end among several of one moment, so the next one begins with that
/// moment again, unless that leads nowhere.
fn again(last: f64, before: Option<f64>) -> f64 {
    match before == Some(last.next_up()) {
        true => last,
        false => last.next_up(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Course, Item, Sought};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// A listing: what is there, newest first.
    struct Listing(Vec<Item>);

    impl Listing {
        fn new(mut items: Vec<Item>) -> Self {
            items.sort_by(|one, other| other.created_at.total_cmp(&one.created_at));
            Self(items)
        }

        fn page(&self, before: Option<f64>, size: usize) -> Vec<Item> {
            let older = |item: &&Item| before.is_none_or(|before| item.created_at < before);
            self.0.iter().filter(older).take(size).copied().collect()
        }
    }

    /// Makes a pass; gives what was absent, the number of pages, and how many
    /// pages came one after the other.
    fn pass(
        listing: &Listing,
        sought: &[Sought],
        size: usize,
        at_once: usize,
    ) -> (BTreeSet<u64>, u32, u32) {
        let mut course = Course::new(sought.iter().copied(), size, at_once);
        let mut rounds = 0;
        while !course.is_over() {
            let mut requests = Vec::new();
            while let Some(request) = course.next() {
                requests.push(request);
            }
            assert!(!requests.is_empty() && requests.len() <= at_once);
            rounds += 1;
            for request in requests {
                course.page(request, &listing.page(request.before, size));
            }
            assert!(rounds < 10_000, "it does not end");
        }
        (course.absent().collect(), course.pages(), rounds)
    }

    fn numbered(count: u32) -> Vec<Item> {
        let item = |number| Item {
            key: Some(u64::from(number)),
            created_at: f64::from(number),
        };
        (1..=count).map(item).collect()
    }

    fn known(items: &[Item]) -> Vec<Sought> {
        let known = |item: &Item| Sought::Known {
            key: item.key.unwrap(),
            created_at: item.created_at,
        };
        items.iter().map(known).collect()
    }

    #[test]
    fn what_is_known_is_read_side_by_side() {
        let items = numbered(10_000);
        let listing = Listing::new(items.clone());
        let (absent, pages, rounds) = pass(&listing, &known(&items), 100, 16);
        assert!(absent.is_empty());
        assert_eq!((pages, rounds), (100, 7));
    }

    #[test]
    fn what_is_new_is_read_from_the_top_and_no_further() {
        let items = numbered(10_000);
        let listing = Listing::new(items.clone());
        let new: Vec<Sought> = (9_801..=10_000)
            .map(|key| Sought::New {
                key,
                not_before: 9_700.0,
            })
            .collect();
        let (absent, pages, _) = pass(&listing, &new, 100, 16);
        assert!(absent.is_empty());
        // Neighbouring pages have one item in common.
        assert_eq!(pages, 3);
        // One that is not there is looked for as far as it can be.
        let lost = [Sought::New {
            key: 20_000,
            not_before: 9_700.0,
        }];
        let (absent, pages, _) = pass(&listing, &lost, 100, 16);
        assert_eq!(absent, [20_000].into());
        assert_eq!(pages, 4);
    }

    #[test]
    fn gaps_are_jumped_over() {
        let mut items = numbered(100_000);
        let sought: Vec<Item> = vec![items[0], items[50_000], items[99_999]];
        for item in &mut items {
            item.key = item
                .key
                .filter(|key| sought.iter().any(|one| one.key == Some(*key)));
        }
        let (absent, pages, _) = pass(&Listing::new(items), &known(&sought), 100, 16);
        assert!(absent.is_empty());
        assert_eq!(pages, 3);
    }

    #[test]
    fn many_of_one_moment_do_not_stop_it() {
        let mut items = numbered(500);
        for item in &mut items {
            item.created_at = 7.0;
        }
        let sought = known(&items);
        let (absent, pages, _) = pass(&Listing::new(items), &sought, 100, 4);
        // Only the first hundred can ever be seen; the others are asked about.
        assert_eq!(absent.len(), 400);
        assert!(pages <= 20, "{pages}");
    }

    proptest! {
        /// Whatever is there and however pages fall: a pass ends, what it calls
        /// absent and what it saw are what was sought, and with moments of their
        /// own nothing that is there is missed.
        #[test]
        fn nothing_is_missed(
            moments in prop::collection::btree_set(1_u32..2_000, 0..300),
            watched in prop::collection::vec(any::<(bool, bool)>(), 300),
            size in 1_usize..40,
            guess in 1_usize..80,
            at_once in 1_usize..8,
        ) {
            let mut items = Vec::new();
            let mut sought = Vec::new();
            let mut expected = BTreeSet::new();
            let count = moments.len();
            for (number, (moment, (is_watched, is_there))) in moments.into_iter().zip(watched).enumerate() {
                let (key, created_at) = (number as u64, f64::from(moment));
                if is_there || !is_watched {
                    items.push(Item { key: is_watched.then_some(key), created_at });
                }
                if is_watched {
                    if !is_there {
                        expected.insert(key);
                    }
                    // The newest third has never been listed.
                    sought.push(match number * 3 >= count * 2 {
                        true => Sought::New { key, not_before: created_at - 10.0 },
                        false => Sought::Known { key, created_at },
                    });
                }
            }
            let listing = Listing::new(items);
            let mut course = Course::new(sought, guess, at_once);
            let mut pages = 0;
            while !course.is_over() {
                let request = course.next().expect("a page is left");
                course.page(request, &listing.page(request.before, size));
                pages += 1;
                prop_assert!(pages < 5_000);
            }
            prop_assert_eq!(course.absent().collect::<BTreeSet<_>>(), expected);
        }
    }
}
