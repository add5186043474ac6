//! Disk faults for the tests of the store: each step on a file first asks here whether it fails, and is
//! recorded. The state is per thread, so that tests do not affect each other.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};

use super::files::Step;

type Plan = Box<dyn FnMut(Step, &Path) -> Option<io::Error>>;

thread_local! {
    static PLAN: RefCell<Option<Plan>> = RefCell::default();
    static STEPS: RefCell<Vec<(Step, PathBuf)>> = RefCell::default();
}

pub(super) fn before(step: Step, path: &Path) -> io::Result<()> {
    STEPS.with_borrow_mut(|steps| steps.push((step, path.to_owned())));
    let error = PLAN.with_borrow_mut(|plan| plan.as_mut().and_then(|plan| plan(step, path)));
    error.map_or(Ok(()), Err)
}

/// Makes steps fail on this thread, until this is dropped.
#[must_use]
pub(super) struct Faults;

impl Faults {
    pub(super) fn plan(plan: impl FnMut(Step, &Path) -> Option<io::Error> + 'static) -> Self {
        PLAN.set(Some(Box::new(plan)));
        Self
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        PLAN.set(None);
    }
}

/// The steps of this thread since the last call.
pub(super) fn steps() -> Vec<(Step, PathBuf)> {
    STEPS.take()
}
