//! Who watches a training: what it shows, and what can end it.

use std::fmt;

use super::log::ValidationEntry;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Sees every validation but that of the last step, and the number of steps that there are to be; a resumed training begins with
/// its last one. True ends the training, as if that had been its last step.
pub type GiveUp<'a> = dyn Fn(&ValidationEntry, usize) -> bool + Sync + 'a;

/// What a training reports to, and asks whether to go on.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Ends it after saving, for a resumption.
    pub interrupt: &'a Interrupt,
    /// How progress is shown.
    pub progress: Progress,
    /// What may give the training up.
    pub give_up: Option<&'a GiveUp<'a>>,
}

impl<'a> Watch<'a> {
    /// One that never gives up.
    pub fn new(interrupt: &'a Interrupt, progress: Progress) -> Self {
        Self { interrupt, progress, give_up: None }
    }
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("progress", &self.progress).finish_non_exhaustive()
    }
}
