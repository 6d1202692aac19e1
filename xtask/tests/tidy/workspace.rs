//! The workspace as the checks see it: cargo's metadata, manifests, sources.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// A text file of the workspace, by its path from the root.
#[derive(Clone, Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// The line, from 1, in which `needle` first stands, or 1.
    pub(crate) fn line_of(&self, needle: &str) -> usize {
        self.text.lines().position(|line| line.contains(needle)).map_or(1, |i| i + 1)
    }

    /// The text without comments, texts and characters, in lines of the same numbers.
    pub(crate) fn code(&self) -> String {
        blank_out(&self.text)
    }
}

/// One of the workspace's own crates.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) manifest: TextFile,
    /// Names of all dependencies with whether they serve tests only.
    pub(crate) dependencies: Vec<(String, Purpose)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Normal,
    Dev,
}

/// A crate in the tree, from any origin.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) members: Vec<Member>,
    pub(crate) packages: Vec<Package>,
}

/// Read once for all tests.
pub(crate) fn workspace() -> &'static Workspace {
    static WORKSPACE: OnceLock<Workspace> = OnceLock::new();
    WORKSPACE.get_or_init(read)
}

/// The workspace that the test was started for; a build folder may be shared by several checkouts.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let own = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
        own.parent().unwrap().to_path_buf()
    })
}

fn read() -> Workspace {
    let host = cargo_text(&["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let text = cargo_text(&["metadata", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let ids: BTreeSet<_> = metadata["workspace_members"].as_array().unwrap().iter().map(|id| id.as_str()).collect();
    let mut members = Vec::new();
    let mut packages = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap().to_owned();
        packages.push(Package {
            name: name.clone(),
            version: package["version"].as_str().unwrap().to_owned(),
            license: package["license"].as_str().map(str::to_owned),
        });
        if !ids.contains(&package["id"].as_str()) {
            continue;
        }
        let path = Path::new(package["manifest_path"].as_str().unwrap());
        let dependencies = package["dependencies"].as_array().unwrap().iter().map(|dependency| {
            let purpose = if dependency["kind"].as_str() == Some("dev") { Purpose::Dev } else { Purpose::Normal };
            (dependency["name"].as_str().unwrap().to_owned(), purpose)
        });
        members.push(Member { name, manifest: text_file(path), dependencies: dependencies.collect() });
    }
    Workspace { root: root().to_path_buf(), members, packages }
}

/// What cargo prints. Without the network first: the tests must run on a train, and on a machine that has not fetched
/// everything yet.
pub(crate) fn cargo_text(arguments: &[&str]) -> String {
    let cargo = |offline: bool| {
        Command::new(env!("CARGO"))
            .args(arguments)
            .args(offline.then_some("--offline"))
            .current_dir(root())
            .output()
            .unwrap()
    };
    let mut output = cargo(true);
    if !output.status.success() {
        output = cargo(false);
    }
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn text_file(path: &Path) -> TextFile {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    TextFile::new(path.strip_prefix(root()).unwrap_or(path).to_string_lossy(), text)
}

/// A file of the workspace by its path from the root.
pub(crate) fn file(path: &str) -> TextFile {
    text_file(&root().join(path))
}

/// All Rust sources under `folder`, sorted.
pub(crate) fn rust_files(folder: &str) -> Vec<TextFile> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.') {
                open.push(path);
            } else if name.ends_with(".rs") {
                found.push(text_file(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// All Rust sources of the workspace's crates.
pub(crate) fn all_rust_files() -> Vec<TextFile> {
    workspace()
        .members
        .iter()
        .flat_map(|member| rust_files(member.manifest.path.strip_suffix("Cargo.toml").unwrap()))
        .collect()
}

/// Replaces comments and the insides of texts by blanks. Line breaks stay.
fn blank_out(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let blank = |out: &mut String, from: usize, to: usize| {
        out.extend(chars[from..to.min(chars.len())].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
    };
    while i < chars.len() {
        let start = i;
        let inside_word = i > 0 && (at(i - 1).is_alphanumeric() || at(i - 1) == '_');
        if at(i) == '/' && at(i + 1) == '/' {
            while i < chars.len() && at(i) != '\n' {
                i += 1;
            }
            blank(&mut out, start, i);
        } else if at(i) == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            loop {
                match (at(i), at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 || i >= chars.len() {
                    break;
                }
            }
            blank(&mut out, start, i);
        } else if let Some(hashes) =
            (at(i) == 'r' && (!inside_word || at(i - 1) == 'b')).then(|| raw_hashes(&chars, i + 1)).flatten()
        {
            let mut end = vec!['"'];
            end.extend(std::iter::repeat_n('#', hashes));
            i += hashes + 2;
            while i < chars.len() && !chars[i..].starts_with(&end) {
                i += 1;
            }
            i = (i + end.len()).min(chars.len());
            out.push('"');
            blank(&mut out, start + 1, i - 1);
            out.push('"');
        } else if at(i) == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i = (i + 1).min(chars.len());
            out.push('"');
            blank(&mut out, start + 1, i - 1);
            out.push('"');
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < chars.len() && at(i) != '\'' {
                i += 1;
            }
            i = (i + 1).min(chars.len());
            blank(&mut out, start, i);
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

/// The number of `#` before the opening quote of a raw text, if there is one at `i`.
fn raw_hashes(chars: &[char], i: usize) -> Option<usize> {
    let hashes = chars[i..].iter().take_while(|c| **c == '#').count();
    (chars.get(i + hashes) == Some(&'"')).then_some(hashes)
}

#[test]
fn code_has_no_comments_and_texts() {
    let file = TextFile::new(
        "x.rs",
        "a // b\n/* c /* d */ e */ f \"g\\\"h\" 'i' '\\'' 'j: k r#\"l\"m\"# br\"n\" r#type /// o\nb\"p\"",
    );
    let code = file.code();
    assert_eq!(code.lines().count(), 3);
    let words: Vec<_> = code.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    assert_eq!(words, ["a", "f", "j", "k", "b", "r", "type", "b"]);
    assert_eq!(TextFile::new("x", "\"abc").code().len(), 4, "an open text ends with the file");
}
