//! Who is connected: at most so many, each name once, a newcomer with the same name takes the place.
//!
//! A name is the user together with the client id, so that one user cannot push out another's monitor by borrowing
//! its id. Nothing of it ever reaches the router.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// A monitor's name; [`Name::Unnamed`] never collides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    /// User and client id as the client gave them.
    Given(String, String),
    /// A client that left its id empty.
    Unnamed(u64),
}

/// The house is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug)]
struct Seat {
    number: u64,
    leave: CancellationToken,
}

#[derive(Debug, Default)]
struct Seats {
    by_name: HashMap<Name, Seat>,
    last: u64,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Guests {
    seats: Arc<Mutex<Seats>>,
    most: usize,
}

impl Guests {
    pub(super) fn new(most: usize) -> Guests {
        Guests { seats: Arc::default(), most }
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a seat under the client's user and id; an empty id gets a name of its own. Whoever sat there is told to leave.
    pub(super) fn seat(&self, user: &str, id: &str) -> Result<Seated, Full> {
        let mut seats = self.seats();
        seats.last += 1;
        let number = seats.last;
        let name = if id.is_empty() { Name::Unnamed(number) } else { Name::Given(user.to_owned(), id.to_owned()) };
        if !seats.by_name.contains_key(&name) && seats.by_name.len() >= self.most {
            return Err(Full);
        }
        let leave = CancellationToken::new();
        if let Some(before) = seats.by_name.insert(name.clone(), Seat { number, leave: leave.clone() }) {
            before.leave.cancel();
        }
        Ok(Seated { guests: self.clone(), name, number, leave })
    }

    /// How many are connected.
    pub(super) fn len(&self) -> usize {
        self.seats().by_name.len()
    }
}

/// One taken seat; free again when dropped, unless somebody took it over.
#[derive(Debug)]
pub(super) struct Seated {
    guests: Guests,
    name: Name,
    number: u64,
    leave: CancellationToken,
}

impl Seated {
    /// Cancelled when the same name connects again.
    pub(super) fn leave(&self) -> &CancellationToken {
        &self.leave
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        let mut seats = self.guests.seats();
        if seats.by_name.get(&self.name).is_some_and(|seat| seat.number == self.number) {
            seats.by_name.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_refuses_until_somebody_leaves() {
        let guests = Guests::new(2);
        let first = guests.seat("", "a").unwrap();
        let _second = guests.seat("", "").unwrap();
        assert_eq!(guests.seat("", "c").unwrap_err(), Full);
        drop(first);
        assert!(guests.seat("", "c").is_ok());
    }

    #[test]
    fn the_same_name_takes_over_even_in_a_full_house_and_the_old_one_does_not_free_it() {
        let guests = Guests::new(1);
        let old = guests.seat("ops", "screen").unwrap();
        let new = guests.seat("ops", "screen").unwrap();
        assert!(old.leave().is_cancelled() && !new.leave().is_cancelled());
        drop(old);
        assert_eq!(guests.len(), 1);
        drop(new);
        assert_eq!(guests.len(), 0);
    }

    #[test]
    fn another_user_with_the_same_id_is_somebody_else() {
        let guests = Guests::new(2);
        let first = guests.seat("ops", "screen").unwrap();
        let _second = guests.seat("guest", "screen").unwrap();
        assert!(!first.leave().is_cancelled());
    }
}
