// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Flow control: how much output may be under way to the owner.

/// The credit of one command. Bytes that were handed to the owner and not yet acknowledged never
/// exceed the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    size: usize,
    in_flight: usize,
}

impl Window {
    /// A window of this many bytes, at least 1.
    pub fn new(size: usize) -> Self {
        Self { size: size.max(1), in_flight: 0 }
    }

    /// How many bytes may be handed over now.
    pub fn credit(&self) -> usize {
        self.size - self.in_flight
    }

    /// How many bytes the owner has not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The window's size in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes were handed over; never more than the credit.
    pub fn take(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.credit());
        self.in_flight = (self.in_flight + bytes).min(self.size);
    }

    /// The owner acknowledged bytes. An owner that claims more than it got gains nothing.
    pub fn give_back(&mut self, bytes: usize) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_grants_more_than_its_size() {
        let mut window = Window::new(10);
        window.take(7);
        assert_eq!((window.credit(), window.in_flight()), (3, 7));
        window.give_back(100);
        assert_eq!(window.credit(), 10);
        window.take(10);
        assert_eq!(window.credit(), 0);
    }

    #[test]
    fn holds_at_least_a_byte() {
        assert_eq!(Window::new(0).credit(), 1);
    }
}
