//! What every crate takes from the workspace.

use crate::finding::{Finding, assert_none};
use crate::workspace::{TextFile, workspace};

/// Keys that every manifest must have, by section, in the form that inherits.
const INHERITED: &[(&str, &str)] = &[
    ("package", "version.workspace = true"),
    ("package", "edition.workspace = true"),
    ("package", "rust-version.workspace = true"),
    ("package", "license.workspace = true"),
    ("lints", "workspace = true"),
];

fn not_inherited(manifest: &TextFile) -> Vec<Finding> {
    let mut section = String::new();
    let mut found = Vec::new();
    for line in manifest.text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        }
        let plain = line.split_whitespace().collect::<Vec<_>>().join(" ");
        found.push((section.clone(), plain));
    }
    let has = |section: &str, key: &str| found.iter().any(|(s, line)| s == section && line == key);
    INHERITED
        .iter()
        .filter(|(section, key)| !has(section, key))
        .map(|(section, key)| Finding {
            file: manifest.path.clone(),
            line: manifest.line_of(&format!("[{section}]")),
            what: format!("[{section}] lacks `{key}`"),
            why: "one edition, one oldest compiler, one licence and one set of lints hold for all crates",
            fix: "write the line; a crate that must differ from a lint allows it where it must, with a reason",
        })
        .collect()
}

#[test]
fn crates_inherit_from_the_workspace() {
    let members = &workspace().members;
    assert!(members.len() > 5);
    assert_none(&members.iter().flat_map(|member| not_inherited(&member.manifest)).collect::<Vec<_>>());
}

#[test]
fn a_crate_of_its_own_mind_is_found() {
    let manifest = TextFile::new(
        "x/Cargo.toml",
        "[package]\nname = \"x\"\nversion.workspace = true\nedition = \"2021\"\nrust-version.workspace   =  true\n\
         license.workspace = true\n\n[dependencies]\nworkspace = true\n",
    );
    let findings = not_inherited(&manifest);
    let whats: Vec<_> = findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(whats, ["[package] lacks `edition.workspace = true`", "[lints] lacks `workspace = true`"]);
}

/// Docs, builds and the registry look for them; the paths are told to people.
#[test]
fn the_workspace_is_where_it_should_be() {
    let root = &workspace().root;
    for path in ["Cargo.lock", "LICENSE", ".ci/run", ".cargo/config.toml", "clippy.toml", "deny.toml"] {
        assert!(root.join(path).is_file(), "{path} is missing; the docs and the CI rely on it");
    }
}
