//! Something that is made once and used again while it is good.

use std::cell::RefCell;

/// A value that is costly to make, such as a client with a token of its own.
#[derive(Debug)]
pub struct Kept<T> {
    value: RefCell<Option<T>>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self {
            value: RefCell::new(None),
        }
    }
}

impl<T: Clone> Kept<T> {
    /// The value that was kept, when it is still good; else a new one, which is
    /// kept.
    ///
    /// # Errors
    ///
    /// When a new one is needed and cannot be made. Nothing is kept then.
    pub fn get<E>(
        &self,
        is_good: impl FnOnce(&T) -> bool,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let kept = self.value.take().filter(is_good);
        let value = kept.map_or_else(make, Ok)?;
        *self.value.borrow_mut() = Some(value.clone());
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn a_value_is_made_again_when_it_is_no_longer_good() {
        let kept = Kept::default();
        let get = |wanted: u32| {
            kept.get(|value| *value >= wanted, || Ok::<_, ()>(wanted))
                .unwrap()
        };
        assert_eq!((get(1), get(0), get(2)), (1, 1, 2));
        assert_eq!(kept.get(|_| false, || Err(())), Err(()));
        assert_eq!(get(0), 0);
    }
}
