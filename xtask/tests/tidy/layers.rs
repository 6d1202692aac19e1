//! The order of rsync-core's modules.

use std::collections::BTreeSet;

use crate::finding::{Finding, assert_none};
use crate::workspace::{TextFile, rust_files};

/// A module may use those above it. Some are not written yet.
const ORDER: &[&str] = &[
    "defects",
    "error",
    "ids",
    "secret",
    "clock",
    "capability",
    "record",
    "field_policy",
    "outcome",
    "event",
    "source",
    "destination",
    "state",
    "normalise",
    "model",
    "mapping",
    "identity",
    "seal",
    "diff",
    "policy",
    "profile",
    "guard",
    "exit",
    "initial_load",
    "plan",
    "batch",
    "retry",
    "limit",
    "cancel",
    "window",
    "layer",
    "report",
    "pipeline",
    "run",
    "memory",
];

const WHY: &str = "data flows one way, so a stage can be read, tested and replaced knowing only what comes before it";

/// The top-level module that a file belongs to; `None` for the root itself.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("rsync-core/src/")?;
    let module = inside.split('/').next()?;
    let module = module.strip_suffix(".rs").unwrap_or(module);
    (module != "lib" && !inside.starts_with("bin/")).then_some(module)
}

fn wrong_order(files: &[TextFile]) -> Vec<Finding> {
    let rank = |module: &str| ORDER.iter().position(|known| *known == module);
    let mut findings = Vec::new();
    let tests = test_files(files);
    let mut reported = BTreeSet::new();
    for file in files.iter().filter(|file| !tests.contains(&file.path)) {
        let Some(module) = module_of(&file.path) else { continue };
        let Some(own) = rank(module) else {
            if reported.insert(module) {
                findings.push(Finding {
                    file: file.path.clone(),
                    line: 1,
                    what: format!("module `{module}` has no place in the order"),
                    why: WHY,
                    fix: "add it to the list in xtask/tests/tidy/layers.rs, below all that it uses",
                });
            }
            continue;
        };
        for (line, used) in uses(&without_tests(&file.code())) {
            let finding = match rank(&used) {
                Some(rank) if rank <= own => continue,
                Some(_) => Finding {
                    file: file.path.clone(),
                    line,
                    what: format!("`{module}` uses `{used}`, which comes after it"),
                    why: WHY,
                    fix: "pass the value in, move the type up to where both can see it, or move the code down",
                },
                None => Finding {
                    file: file.path.clone(),
                    line,
                    what: format!("`crate::{used}` does not say which module it means"),
                    why: "a name that the root re-exports hides the direction of the use",
                    fix: "name the module: crate::error::Error instead of crate::Error",
                },
            };
            findings.push(finding);
        }
    }
    findings
}

/// Lines and first segments of all paths that start with `crate::`.
fn uses(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        // `$crate::` in a macro is as good as `crate::`; `my_crate::` is not.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + start.len()..];
        let Some(group) = rest.trim_start().strip_prefix('{') else {
            found.push((line, first_word(rest)));
            continue;
        };
        let mut depth = 0;
        let mut item = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => item = true,
                c if item && depth == 0 && !c.is_whitespace() => {
                    found.push((line + group[..i].matches('\n').count(), first_word(&group[i..])));
                    item = false;
                }
                _ => {}
            }
        }
    }
    found.retain(|(_, word)| !word.is_empty());
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Where `#[cfg(test)]` items stand in the code, and the names of those that are files of their own.
fn test_items(code: &str) -> Vec<(std::ops::Range<usize>, Option<String>)> {
    let mut found = Vec::new();
    for mark in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (start, _) in code.match_indices(mark) {
            let body = start + mark.len();
            let Some(open) = code[body..].find(['{', ';']).map(|i| i + body) else { continue };
            if code.as_bytes()[open] == b';' {
                let item = code[body..open].trim();
                let name = item.rsplit(char::is_whitespace).next().map(str::to_owned);
                found.push((start..open + 1, name.filter(|_| item.contains("mod "))));
                continue;
            }
            let mut depth = 0;
            let end = code[open..].char_indices().find_map(|(i, c)| {
                depth += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                (depth == 0).then_some(open + i + 1)
            });
            found.push((start..end.unwrap_or(code.len()), None));
        }
    }
    found
}

fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    for (range, _) in test_items(&code.clone()) {
        let blank: String = code[range.clone()].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        // Blanks are one byte each, as code outside texts and comments is.
        if blank.len() == range.len() {
            code.replace_range(range, &blank);
        }
    }
    code
}

/// Files that are compiled for tests only.
fn test_files(files: &[TextFile]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in files {
        for (_, name) in test_items(&file.code()) {
            let Some(name) = name else { continue };
            let folder = match file.path.strip_suffix("/mod.rs").or_else(|| file.path.strip_suffix("/lib.rs")) {
                Some(folder) => folder,
                None => file.path.strip_suffix(".rs").unwrap_or(&file.path),
            };
            found.insert(format!("{folder}/{name}.rs"));
            let inside = format!("{folder}/{name}/");
            found.extend(files.iter().map(|f| &f.path).filter(|path| path.starts_with(&inside)).cloned());
        }
    }
    found
}

#[test]
fn core_modules_use_those_above_them_only() {
    let files = rust_files("rsync-core/src");
    assert!(files.len() > 5, "the sources are not found");
    assert_none(&wrong_order(&files));
}

#[test]
fn a_use_against_the_order_is_found() {
    let found = |path: &str, text: &str| {
        let findings = wrong_order(&[TextFile::new(path, text)]);
        findings.iter().map(|f| (f.line, f.what.clone())).collect::<Vec<_>>()
    };
    let path = "rsync-core/src/source.rs";
    assert_eq!(
        found(path, "use crate::error::{Error, Kind};\nuse crate::{ids::ColumnName, source};\n// crate::run"),
        []
    );
    assert_eq!(found(path, "\nuse crate::run::Run;")[0], (2, "`source` uses `run`, which comes after it".into()));
    assert_eq!(found(path, "use crate::{\n    error::{self, Error},\n    plan::Plan,\n};").len(), 1);
    assert_eq!(found(path, "fn f() -> crate::state::State { todo!() }").len(), 1);
    assert_eq!(found(path, "use crate::Error;")[0].1, "`crate::Error` does not say which module it means");
    assert_eq!(
        found(path, "#[cfg(test)]\nmod tests {\n    use crate::memory::Memory;\n}\nuse crate::state::A;")[0].0,
        5
    );
    assert_eq!(found("rsync-core/src/run/steps.rs", "use crate::memory::X; use crate::plan::Y;").len(), 1);
    assert_eq!(found("rsync-core/src/stuff.rs", "use crate::memory::X;").len(), 1);
    assert_eq!(found("rsync-core/src/lib.rs", "pub use crate::memory::X;"), []);
    let files = [
        TextFile::new("rsync-core/src/diff.rs", "#[cfg(test)]\nmod tests;"),
        TextFile::new("rsync-core/src/diff/tests.rs", "use crate::run::X;"),
        TextFile::new("rsync-core/src/diff/other.rs", "use crate::run::X;"),
    ];
    assert_eq!(wrong_order(&files).len(), 1);
}
