//! The files behind a table: finding them, and noticing that they changed while they were read.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use datafusion::datasource::listing::ListingTableUrl;
use rsync_core::{Error, Kind, Result};
use url::Url;

/// One file as it was when the read began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    modified: Option<SystemTime>,
}

impl File {
    fn stat(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        // A folder or device cannot be read as a table; say so as the system would.
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        // Opened once here, so that a missing permission is reported before anything is planned.
        fs::File::open(path)?;
        Ok(Self { path: path.to_path_buf(), bytes: metadata.len(), modified: metadata.modified().ok() })
    }

    /// The file as a URL, in which no character of the name is taken for a wildcard.
    pub(crate) fn url(&self) -> Result<ListingTableUrl> {
        Url::from_file_path(&self.path)
            .ok()
            .and_then(|url| ListingTableUrl::try_new(url, None).ok())
            .ok_or_else(|| unreadable(&self.path, "its path cannot be written as a URL"))
    }

    /// Fails if the file is no longer the one that the read began with.
    ///
    /// DataFusion opens a file anew for every range, and takes a file that has vanished for an empty table. Both
    /// would turn a replaced file into rows that seem to be gone.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        if Self::stat(&self.path).is_ok_and(|now| now == *self) {
            return Ok(());
        }
        Err(Error::new(Kind::SourceIncomplete, "read the model", "a file changed while it was read")
            .with_context("path", self.path.display())
            .with_remedy("write new files beside the old ones and swap them between runs"))
    }
}

/// All files that `path` names, sorted: a file, a folder (its direct children with one of `extensions`), or a
/// pattern with `*`, `?` or `[`. Never empty.
pub(crate) fn find(table: &str, path: &Path, extensions: &[&str]) -> Result<Vec<File>> {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => in_folder(path, extensions)?,
        Ok(_) => vec![path.to_path_buf()],
        Err(_) if path.to_string_lossy().contains(['*', '?', '[']) => matching(table, path)?,
        Err(e) => return Err(io_error(path, &e).with_context("table", table)),
    };
    if found.is_empty() {
        return Err(Error::new(Kind::NotFound, "open a table", "no file matches")
            .with_context("table", table)
            .with_context("path", path.display())
            .with_remedy(format!(
                "check the path; a folder is searched for {} without its sub-folders, a pattern such as \
                 'data/**/*.{}' reaches those",
                extensions.iter().map(|e| format!("*.{e}")).collect::<Vec<_>>().join(", "),
                extensions[0],
            )));
    }
    let mut files = Vec::with_capacity(found.len());
    for path in found {
        // Links are followed once, so that a link that is moved during the read does not mix two files.
        let file = fs::canonicalize(&path).and_then(|real| File::stat(&real));
        files.push(file.map_err(|e| io_error(&path, &e).with_context("table", table))?);
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup_by(|a, b| a.path == b.path);
    Ok(files)
}

fn in_folder(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| io_error(folder, &e))? {
        let path = entry.map_err(|e| io_error(folder, &e))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Writers keep unfinished files and markers under such names.
        let hidden = name.starts_with(['.', '_']);
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if !hidden && extensions.contains(&extension.as_str()) {
            found.push(path);
        }
    }
    Ok(found)
}

fn matching(table: &str, pattern: &Path) -> Result<Vec<PathBuf>> {
    // As in a shell: `*` does not reach hidden files.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::new() };
    let paths = glob::glob_with(&pattern.to_string_lossy(), options).map_err(|e| {
        Error::new(Kind::InvalidConfig, "open a table", "the path is not a valid pattern")
            .with_context("table", table)
            .with_context("path", pattern.display())
            .with_source(e)
    })?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|e| io_error(e.path(), e.error()))?;
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

/// A file that exists but cannot be used.
pub(crate) fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(Kind::SourceIncomplete, "open a table", why).with_context("path", path.display())
}

/// The error for a failed system call on `path`.
pub(crate) fn io_error(path: &Path, error: &io::Error) -> Error {
    let (kind, message, remedy) = match error.kind() {
        io::ErrorKind::NotFound => (Kind::NotFound, "the file does not exist", "check the path"),
        io::ErrorKind::PermissionDenied => {
            (Kind::Forbidden, "the file may not be read", "grant this process the right to read it")
        }
        io::ErrorKind::InvalidInput => {
            (Kind::NotFound, "the path is neither a file nor a folder", "name a regular file")
        }
        _ => (Kind::SourceIncomplete, "the file cannot be read", "see the cause"),
    };
    Error::new(kind, "open a table", message)
        .with_context("path", path.display())
        .with_remedy(remedy)
        // Only the class: the system's text adds nothing and an `io::Error` may wrap anything.
        .with_context("cause", error.kind())
}
