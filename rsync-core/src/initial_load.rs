//! How a sync begins.

/// What the first run of a sync does. It applies until a run was accepted (completed, incomplete or stopped); such a run
/// disposes of no records.
///
/// ```
/// use rsync_core::InitialLoad;
///
/// // One key in twenty first; somebody looks; the next run sends the rest.
/// let first = InitialLoad::Canary(0.05);
/// # assert_ne!(first, InitialLoad::Send);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum InitialLoad {
    /// Sends every row.
    #[default]
    Send,
    /// Sends nothing and records every row as acknowledged, with the outcome
    /// [`Skipped`](crate::outcome::Outcome::Skipped) and the code `seeded`: for a destination that has these values
    /// already, written by something else. Nobody checks that it has; a row is sent when it changes. Rows in doubt are sent.
    SeedStateOnly,
    /// Reads every record before writing. A record that has all values already is acknowledged without a write and
    /// counts as unchanged; others get only what differs. The destination must be able to look up records.
    SeedFromDestination,
    /// Sends this share of the keys, above 0 and up to 1, and defers the rest with the code `canary`. The keys are chosen
    /// by their hash, always the same; of a small model they may be none. The run ends as
    /// [`Stopped`](crate::report::RunStatus::Stopped), and the next one sends the rest.
    Canary(f64),
}

impl InitialLoad {
    pub(crate) fn is_sound(self) -> bool {
        match self {
            InitialLoad::Canary(share) => share > 0.0 && share <= 1.0,
            _ => true,
        }
    }
}
