//! The window of a channel: how much a client may send before it is told to go on (RFC 4254 §5.2).
//!
//! russh announces more window as data comes, and takes data beyond it. Here the same is counted
//! once more, from what is known of russh's rule, so that a client that ignores the window can be
//! sent away.

/// What was announced to a client on one channel, and what came.
#[derive(Debug)]
pub(super) struct Window {
    /// The size of the whole window, in bytes.
    size: u32,
    /// Bytes that the client was told it may send so far.
    announced: u64,
    /// Bytes that it sent.
    received: u64,
    /// What is left of the window by russh's count, which passes over data that does not fit.
    left: u32,
}

impl Window {
    /// A channel that was just opened with a window of this size, in bytes.
    pub(super) fn new(size: u32) -> Window {
        Window {
            size,
            announced: size.into(),
            received: 0,
            left: size,
        }
    }

    /// Data came. Returns whether the client has overrun what was announced by no more than a whole
    /// window: some clients count differently, and what is in between is harmless.
    pub(super) fn takes(&mut self, bytes: usize) -> bool {
        if let Some(left) = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.left.checked_sub(bytes))
        {
            self.left = left;
        }
        self.received = self
            .received
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let overrun = self.received.saturating_sub(self.announced);
        // russh announces more once less than half is left.
        if self.left < self.size / 2 {
            self.announced += u64::from(self.size - self.left);
            self.left = self.size;
        }
        overrun <= self.size.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_may_send_what_was_announced_and_a_window_more() {
        // (pieces of so many bytes, how many of them are taken)
        let cases = [
            // Within the window, which grows with what comes.
            (1, 10_000),
            (50, 10_000),
            (100, 10_000),
            // The first announces nothing more, as it doesn't fit: 101, then 202 of 100.
            (101, 1),
            (200, 1),
            (201, 0),
            // Half a window and one: the first is taken, the others fit by turns.
            (51, 10_000),
        ];
        for (bytes, taken) in cases {
            let mut window = Window::new(100);
            let fits = (0..10_000).take_while(|_| window.takes(bytes)).count();
            assert_eq!(fits, taken, "{bytes}");
        }
    }

    /// More than is left each time, which russh never counts.
    #[test]
    fn data_beyond_the_window_adds_up() {
        let mut window = Window::new(100);
        assert!(window.takes(50));
        let fits = (0..10_000).take_while(|_| window.takes(51)).count();
        assert_eq!(fits, 2, "152 of 100, then 203");
    }
}
