//! The search of what a process leaves behind on the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A text in the forms in which it could be stored.
pub(super) struct Needles {
    forms: Vec<(&'static str, Vec<u8>)>,
    /// Whether a form begins with a byte.
    begins: [bool; 256],
}

impl Needles {
    pub(super) fn of(text: &str) -> Self {
        let mut forms = vec![("raw", text.as_bytes().to_vec())];
        let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
        forms.extend([hex.to_uppercase(), hex].map(|hex| ("hexadecimal", hex.into_bytes())));
        let percent = |b: u8| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            _ => format!("%{b:02X}"),
        };
        forms.push(("percent", text.bytes().map(percent).collect::<String>().into_bytes()));
        let json = |c: char| if c.is_ascii() { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
        forms.push(("JSON", text.chars().map(json).collect::<String>().into_bytes()));
        // Inside a longer text it begins at any of three places of a group; what its neighbours share is left out.
        for before in 0..3 {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(text.as_bytes());
            let whole = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            for encoded in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                forms.push(("base64", encoded.as_bytes()[whole.clone()].to_vec()));
            }
        }
        let mut begins = [false; 256];
        forms.iter().for_each(|(_, form)| begins[usize::from(form[0])] = true);
        Self { forms, begins }
    }

    /// The form in which the text stands in `bytes`, if it does.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<&'static str> {
        let candidates = (0..bytes.len()).filter(|at| self.begins[usize::from(bytes[*at])]);
        candidates
            .into_iter()
            .find_map(|at| self.forms.iter().find(|(_, form)| bytes[at..].starts_with(form)).map(|(name, _)| *name))
    }

    /// Searches all files below `folder`. Returns how many there are.
    pub(super) fn search(&self, folder: &Path) -> io::Result<Result<usize, String>> {
        let (mut folders, mut files) = (vec![folder.to_owned()], 0);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                files += 1;
                if let Some(form) = self.find(&fs::read(&path)?) {
                    return Ok(Err(format!("a value is left on the disk, {form}: {}", path.display())));
                }
            }
        }
        Ok(Ok(files))
    }
}

/// The open files of a process that have no name any more in `folder`. None where the system does not tell.
pub(super) fn unlinked(process: u32, folder: &Path) -> Vec<PathBuf> {
    let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let inside = |path: &PathBuf| {
        let target = fs::read_link(path).unwrap_or_default();
        target.starts_with(folder) && target.to_string_lossy().ends_with(" (deleted)")
    };
    open.filter_map(|entry| Some(entry.ok()?.path())).filter(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_found_anywhere() {
        let text = "cnry~é/?";
        let needles = Needles::of(text);
        let quoted = serde_json::to_string(text).unwrap().replace('é', "\\u00e9");
        for before in ["", "a", "bc", "def"] {
            let inside = format!("{before}{text} and more");
            let hex: String = inside.bytes().map(|b| format!("{b:02x}")).collect();
            let stored = [
                inside.clone(),
                hex.to_uppercase(),
                hex,
                STANDARD_NO_PAD.encode(&inside),
                URL_SAFE_NO_PAD.encode(&inside),
                format!("{before}cnry~%C3%A9%2F%3F"),
                format!("{before}{quoted}"),
            ];
            for stored in stored {
                assert!(needles.find(stored.as_bytes()).is_some(), "{stored}");
            }
        }
        assert_eq!(needles.find(b"cnry and nothing else"), None);
    }
}
