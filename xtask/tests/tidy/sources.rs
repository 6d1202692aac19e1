//! What no source file may contain.

use crate::finding::{Finding, assert_none};
use crate::workspace::{TextFile, all_rust_files};

/// Names that say nothing about what is inside.
const DRAWERS: &[&str] = &["util", "utils", "common", "helper", "helpers", "types", "manager", "misc"];

const LONGEST: usize = 800;

/// Files that may be longer, each with the reason.
const LONG_FILES: &[(&str, &str)] = &[];

fn drawers(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let finding = |line: usize, name: &str| Finding {
            file: file.path.clone(),
            line,
            what: format!("a module is named `{name}`"),
            why: "such a name fits everything, so everything ends up there and nothing can be found",
            fix: "name the module after the concept it holds, or move the item to its only user",
        };
        let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
        for name in path.split('/').filter(|name| DRAWERS.contains(name)) {
            findings.push(finding(1, name));
        }
        for (i, line) in file.code().lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let name = words.by_ref().skip_while(|word| *word != "mod").nth(1).unwrap_or_default();
            // A module without a body is a file, which is reported itself.
            if DRAWERS.contains(&name) && line.contains('{') {
                findings.push(finding(i + 1, name));
            }
        }
    }
    findings
}

#[test]
fn modules_are_named_by_what_they_hold() {
    assert_none(&drawers(&all_rust_files()));
}

#[test]
fn a_drawer_is_found() {
    let files = [
        TextFile::new("rsync-x/src/utils.rs", ""),
        TextFile::new("rsync-x/src/helpers/mod.rs", ""),
        TextFile::new("rsync-x/src/lib.rs", "mod utils;\nmod common {\n}\n// mod misc {\nmod commons {}"),
    ];
    assert_eq!(drawers(&files).len(), 3);
}

fn long(files: &[TextFile], excused: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let lines = file.text.lines().count();
        let excuse = excused.iter().find(|(path, _)| *path == file.path);
        if lines > LONGEST && excuse.is_none_or(|(_, reason)| reason.trim().is_empty()) {
            findings.push(Finding {
                file: file.path.clone(),
                line: LONGEST,
                what: format!("the file has {lines} lines, {LONGEST} at most"),
                why: "a file of this size holds several concepts, and readers must find out which lines belong to which",
                fix: "split it along its concepts; a file that is one long list goes to LONG_FILES with its reason",
            });
        }
        if lines <= LONGEST && excuse.is_some() {
            findings.push(Finding {
                file: file.path.clone(),
                line: 1,
                what: "the file is excused for its length but is short enough".into(),
                why: "an excuse that nobody needs lets the file grow again unseen",
                fix: "remove it from LONG_FILES",
            });
        }
    }
    findings
}

#[test]
fn files_are_short_enough_to_read() {
    assert_none(&long(&all_rust_files(), LONG_FILES));
}

#[test]
fn a_long_file_is_found() {
    let file = |lines: usize| [TextFile::new("x.rs", "\n".repeat(lines))];
    assert_eq!(long(&file(LONGEST), &[]).len(), 0);
    assert_eq!(long(&file(LONGEST + 1), &[]).len(), 1);
    assert_eq!(long(&file(LONGEST + 1), &[("x.rs", "one table")]).len(), 0);
    assert_eq!(long(&file(LONGEST + 1), &[("x.rs", "")]).len(), 1);
    assert_eq!(long(&file(1), &[("x.rs", "one table")]).len(), 1);
}

/// Code that must not stand anywhere: what, why, how to mend it.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    (
        "todo!(",
        "unfinished code that compiles is taken for finished",
        "write it, or return an error of Kind::Unsupported",
    ),
    (
        "unimplemented!(",
        "unfinished code that compiles is taken for finished",
        "write it, or return an error of Kind::Unsupported",
    ),
    (
        "#[ignore]",
        "a test that is skipped without a word stays skipped",
        "give the reason: #[ignore = \"needs a sandbox account\"]",
    ),
    (
        "danger_accept_invalid",
        "a client that does not check certificates hands credentials to whoever is in between",
        "trust a certificate of your own instead: the transport takes roots, also in tests",
    ),
];

fn forbidden(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for (i, line) in file.code().lines().enumerate() {
            for (what, why, fix) in FORBIDDEN.iter().filter(|(what, ..)| line.contains(what)) {
                findings.push(Finding { file: file.path.clone(), line: i + 1, what: format!("`{what}`"), why, fix });
            }
        }
    }
    findings
}

#[test]
fn nothing_unfinished_skipped_or_unsafe() {
    assert_none(&forbidden(&all_rust_files()));
}

#[test]
fn forbidden_code_is_found() {
    let file = TextFile::new(
        "x.rs",
        "// todo!()\nlet a = \"todo!()\";\ntodo!();\n#[ignore]\n#[ignore = \"why\"]\nb.danger_accept_invalid_certs(true);",
    );
    assert_eq!(forbidden(&[file]).iter().map(|finding| finding.line).collect::<Vec<_>>(), [3, 4, 6]);
}
