//! A bounded collection found by id, name or idempotency key.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    clock::Timestamp,
    names::{IdempotencyKey, Name},
};

/// What a [`Shelf`] holds.
pub(crate) trait Item {
    type Id: Clone + Ord + fmt::Debug;

    fn id(&self) -> &Self::Id;

    /// Unique among the items of one shelf.
    fn created_at(&self) -> Timestamp;

    /// The key of the call that created it.
    fn key(&self) -> Option<&IdempotencyKey>;

    /// Environment and name, if it can be looked up by them.
    fn name(&self) -> Option<(Name, Name)>;
}

/// Items up to a number; beyond it the oldest goes.
#[derive(Debug)]
pub(crate) struct Shelf<T: Item> {
    limit: usize,
    by_id: BTreeMap<T::Id, Arc<T>>,
    by_age: BTreeMap<Timestamp, T::Id>,
    by_key: BTreeMap<IdempotencyKey, T::Id>,
    by_name: BTreeMap<(Name, Name), T::Id>,
}

impl<T: Item> Shelf<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            by_id: BTreeMap::new(),
            by_age: BTreeMap::new(),
            by_key: BTreeMap::new(),
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_id.values()
    }

    pub(crate) fn get(&self, id: &T::Id) -> Option<&Arc<T>> {
        self.by_id.get(id)
    }

    pub(crate) fn created_by(&self, key: Option<&IdempotencyKey>) -> Option<&Arc<T>> {
        self.get(self.by_key.get(key?)?)
    }

    pub(crate) fn named(&self, environment: &Name, name: &Name) -> Option<&Arc<T>> {
        self.get(self.by_name.get(&(environment.clone(), name.clone()))?)
    }

    /// Adds an item, or replaces the one with its id. Returns it and the oldest
    /// droppable item if that had to go; `None` when there is no room and none
    /// may go.
    pub(crate) fn insert(
        &mut self,
        item: T,
        droppable: impl Fn(&T) -> bool,
    ) -> Option<(Arc<T>, Option<Arc<T>>)> {
        self.remove(&item.id().clone());
        let dropped = if self.by_id.len() < self.limit {
            None
        } else {
            let oldest = self
                .by_age
                .values()
                .find(|id| self.by_id.get(*id).is_some_and(|old| droppable(old)))
                .cloned()?;
            self.remove(&oldest)
        };
        let item = Arc::new(item);
        let id = item.id();
        self.by_age.insert(item.created_at(), id.clone());
        if let Some(key) = item.key() {
            self.by_key.insert(key.clone(), id.clone());
        }
        if let Some(name) = item.name() {
            self.by_name.insert(name, id.clone());
        }
        self.by_id.insert(id.clone(), Arc::clone(&item));
        Some((item, dropped))
    }

    pub(crate) fn remove(&mut self, id: &T::Id) -> Option<Arc<T>> {
        let item = self.by_id.remove(id)?;
        self.by_age.remove(&item.created_at());
        if let Some(key) = item.key() {
            self.by_key.remove(key);
        }
        if let Some(name) = item.name() {
            self.by_name.remove(&name);
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Thing(u32, Option<&'static str>);

    impl Item for Thing {
        type Id = u32;

        fn id(&self) -> &u32 {
            &self.0
        }

        fn created_at(&self) -> Timestamp {
            Timestamp::from_micros(self.0.into())
        }

        fn key(&self) -> Option<&IdempotencyKey> {
            None
        }

        fn name(&self) -> Option<(Name, Name)> {
            let name = Name::recorded(self.1?.to_owned());
            Some((Name::recorded("main".to_owned()), name))
        }
    }

    #[test]
    fn the_oldest_that_may_go_goes() {
        let main = Name::recorded("main".to_owned());
        let mut shelf = Shelf::new(2);
        let unnamed = |thing: &Thing| thing.1.is_none();
        shelf.insert(Thing(1, Some("a")), unnamed).unwrap();
        shelf.insert(Thing(2, None), unnamed).unwrap();
        let (_, dropped) = shelf.insert(Thing(3, Some("b")), unnamed).unwrap();
        assert_eq!(dropped.unwrap().0, 2);
        assert!(shelf.get(&2).is_none());
        let name = |text: &str| Name::recorded(text.to_owned());
        assert_eq!(shelf.named(&main, &name("a")).unwrap().0, 1);
        // Nothing may go any more.
        assert!(shelf.insert(Thing(4, None), unnamed).is_none());
        // Replacing takes no room.
        shelf.insert(Thing(1, Some("c")), unnamed).unwrap();
        assert!(shelf.named(&main, &name("a")).is_none());
        assert_eq!(shelf.named(&main, &name("c")).unwrap().0, 1);
    }
}
