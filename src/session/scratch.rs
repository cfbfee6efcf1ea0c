//! Space that all sessions of a thread use in turn: what was read, what was opened, and what is made for sockets.
//!
//! An idle session holds none of it. Within one step of a session, what lies here is named by [`Span`]s; a step
//! ends before the next session's begins, and what is left then moves elsewhere.

use std::cell::RefCell;

use crate::tls::{space::Space, stream::MAX_HELD};

/// How much is read from a socket at once: four full TLS records.
pub const READ_SIZE: usize = 64 * 1024;

/// Bytes of the space for what was read: the head of a TLS record that came before, and a read.
pub const INPUT_LEN: usize = MAX_HELD + READ_SIZE;

/// One of the areas of a [`Scratch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// What was read.
    Input,
    /// What was opened of that.
    Plain,
    /// What was made for sockets.
    Out,
}

/// Bytes in a [`Scratch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    area: Area,
    start: usize,
    end: usize,
}

/// Space that every connection of a thread uses in turn.
#[derive(Debug)]
pub struct Scratch {
    input: Input,
    pub(super) plain: Space,
    pub(super) out: Space,
    /// Where each area lies in the worker's table, if it lies there.
    places: Option<[usize; 3]>,
}

/// Space for what was read.
#[derive(Debug)]
enum Input {
    Own(Box<[u8]>),
    Given(&'static mut [u8]),
}

/// Memory for a thread's scratch space that outlives the process.
#[derive(Debug)]
pub struct Areas {
    /// For what was read, [`INPUT_LEN`] bytes.
    pub input: &'static mut [u8],
    /// For what was opened.
    pub plain: &'static mut [u8],
    /// For what is made.
    pub out: &'static mut [u8],
    /// Where each begins, in bytes from where the bytes of the table begin.
    pub places: [usize; 3],
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Calls `act` with this thread's scratch space.
///
/// `act` must not call it again: nothing that polls may be called from inside.
pub fn with_scratch<R>(act: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(act)
}

impl Scratch {
    fn new() -> Self {
        Self {
            input: Input::Own(vec![0; INPUT_LEN].into()),
            plain: Space::default(),
            out: Space::default(),
            places: None,
        }
    }

    /// Returns space of its own.
    #[cfg(test)]
    pub(crate) fn empty() -> Self {
        Self::new()
    }

    /// Uses this memory from now on.
    pub fn lie_in(&mut self, areas: Areas) {
        let Areas {
            input,
            plain,
            out,
            places,
        } = areas;
        *self = Self {
            input: Input::Given(input),
            plain: Space::within(plain),
            out: Space::within(out),
            places: Some(places),
        };
    }

    /// Begins a step: forgets what was opened and made before.
    pub fn begin(&mut self) {
        self.plain.clear();
        self.out.clear();
    }

    /// Returns the bytes of a span.
    pub fn get(&self, span: Span) -> &[u8] {
        let area = match span.area {
            Area::Input => self.input(),
            Area::Plain => self.plain.filled(),
            Area::Out => self.out.filled(),
        };
        area.get(span.start..span.end).unwrap_or_default()
    }

    /// Returns the space for what was read.
    pub fn input(&self) -> &[u8] {
        match &self.input {
            Input::Own(own) => own,
            Input::Given(given) => given,
        }
    }

    /// Returns the space for what was read, and for what is opened and made of that.
    pub fn parts(&mut self) -> (&mut [u8], &mut Space, &mut Space) {
        let input = match &mut self.input {
            Input::Own(own) => &mut **own,
            Input::Given(given) => given,
        };
        (input, &mut self.plain, &mut self.out)
    }

    /// Returns what is in a span, and the space for what is made of it.
    pub fn to_seal(&mut self, span: Span) -> (&[u8], &mut Space) {
        let input = match &self.input {
            Input::Own(own) => &**own,
            Input::Given(given) => given,
        };
        let area = match span.area {
            Area::Input => input,
            Area::Plain => self.plain.filled(),
            // What was made is not sealed again.
            Area::Out => &[],
        };
        let bytes = area.get(span.start..span.end).unwrap_or_default();
        (bytes, &mut self.out)
    }

    /// Returns where a span lies, in bytes from where the bytes of the table begin; `None` if it lies elsewhere.
    pub fn place(&self, span: Span) -> Option<usize> {
        let places = self.places?;
        let (place, has_left) = match span.area {
            Area::Input => (places[0], false),
            Area::Plain => (places[1], self.plain.has_left()),
            Area::Out => (places[2], self.out.has_left()),
        };
        (!has_left).then_some(place + span.start)
    }
}

impl Span {
    /// Returns the bytes from `start` to `end` of an area.
    pub fn new(area: Area, start: usize, end: usize) -> Self {
        Self { area, start, end }
    }

    /// Returns how many bytes these are.
    pub fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Returns whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the first `at` bytes, and the rest.
    pub fn split_at(self, at: usize) -> (Self, Self) {
        let middle = self.start + at.min(self.len());
        let (first, rest) = (self.start..middle, middle..self.end);
        (
            Self::new(self.area, first.start, first.end),
            Self::new(self.area, rest.start, rest.end),
        )
    }

    /// Returns both as one, if the other follows this.
    pub fn and(self, next: Self) -> Option<Self> {
        let follows = (self.area, self.end) == (next.area, next.start);
        follows.then_some(Self {
            end: next.end,
            ..self
        })
    }
}
