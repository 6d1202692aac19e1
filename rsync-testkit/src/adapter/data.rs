//! Data that is no part of the repository.

use std::path::{Path, PathBuf};

/// A file or folder of the data that tests use where they find it, such as recorded answers of a service: below the
/// folder that `RSYNC_SHARED_DATA` names (or its `data`), else below `../shared/data` beside the workspace. Prints that
/// a test is skipped, and returns `None`, if it is not there.
#[allow(clippy::print_stdout, reason = "a test that did not compare anything must say so")]
pub fn shared_data(below: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let root = std::env::var_os("RSYNC_SHARED_DATA").map_or_else(beside, PathBuf::from);
    let found = [root.join("data").join(below), root.join(below)].into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("skipped: there is no {below} (set RSYNC_SHARED_DATA to the folder that has it)");
    }
    found
}
