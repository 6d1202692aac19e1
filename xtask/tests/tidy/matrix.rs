//! The known faults (F) and leaks (S), and the tests that guard against each. A test says what it guards against in its
//! name: `f02_f03_a_crash_loses_nothing`.

use std::collections::BTreeSet;

use crate::finding::{Finding, assert_none};
use crate::workspace::{TextFile, all_rust_files};

const HERE: &str = "xtask/tests/tidy/matrix.rs";

const FAULTS: u32 = 62;
const LEAKS: u32 = 24;

/// What no test is named after yet, and why. A line goes as soon as there is a test.
const WITHOUT_TEST: &[(&str, &str)] = &[
    ("f38", "the transport sends no write again; a server that refuses a stream is not played yet"),
    ("f58", "there is no policy for fields that trigger something at the destination"),
    ("f60", "there is no consent that a send could ask for"),
    ("f61", "there is no guard for the age of a model"),
    ("s19", "decoders are tested by property; there is no fuzzing with a corpus"),
    ("s20", "bodies are capped (f32); depth and counts of hostile answers are not played yet"),
    ("s22", "there are no metrics; events carry names, counts and codes, which s01 and s02 test"),
];

fn all_ids() -> BTreeSet<String> {
    let ids = |letter: char, last: u32| (1..=last).map(move |number| format!("{letter}{number:02}"));
    ids('f', FAULTS).chain(ids('s', LEAKS)).collect()
}

/// The ids at the beginning of the name of a test.
fn ids_of(name: &str) -> Vec<&str> {
    let is_id =
        |part: &&str| part.len() == 3 && part.starts_with(['f', 's']) && part[1..].chars().all(|c| c.is_ascii_digit());
    name.split('_').take_while(is_id).collect()
}

/// The ids in the names of tests: functions that begin with ids, with an attribute or inside a macro that adds it.
fn tested(files: &[TextFile]) -> Vec<(String, usize, String)> {
    let mut found = Vec::new();
    for file in files {
        for (i, line) in file.code().lines().enumerate() {
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            let name: &str = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            found.extend(ids_of(name).into_iter().map(|id| (file.path.clone(), i + 1, id.to_owned())));
        }
    }
    found
}

fn gaps(files: &[TextFile], all: &BTreeSet<String>, excused: &[(&str, &str)]) -> Vec<Finding> {
    let tested = tested(files);
    let mut findings = Vec::new();
    for (path, line, id) in tested.iter().filter(|(.., id)| !all.contains(id)) {
        findings.push(Finding {
            file: path.clone(),
            line: *line,
            what: format!("there is no {id}"),
            why: "a test that names a fault that nobody listed counts for nothing",
            fix: "correct the number, or raise FAULTS or LEAKS if the list has grown",
        });
    }
    let mut finding = |id: &str, what: &str, why, fix| {
        findings.push(Finding { file: HERE.into(), line: 1, what: format!("{id} {what}"), why, fix });
    };
    for id in all {
        let has_test = tested.iter().any(|(.., tested)| tested == id);
        match (has_test, excused.iter().find(|(excused, _)| excused == id)) {
            (true, None) => {}
            (true, Some(_)) => finding(
                id,
                "is excused, but has a test",
                "an excuse that nobody needs lets the test go again unseen",
                "remove it from WITHOUT_TEST",
            ),
            (false, Some((_, reason))) if !reason.trim().is_empty() => {}
            (false, _) => finding(
                id,
                "has no test",
                "a fault that is known and not tested for comes back",
                "begin the name of its test with the id, or add it to WITHOUT_TEST with the reason",
            ),
        }
    }
    for (id, _) in excused.iter().filter(|(id, _)| !all.contains(*id)) {
        finding(id, "is excused, but not in the list", "it says nothing", "remove it from WITHOUT_TEST");
    }
    findings
}

#[test]
fn every_known_fault_has_a_test_or_a_reason() {
    assert_none(&gaps(&all_rust_files(), &all_ids(), WITHOUT_TEST));
}

#[test]
fn a_gap_is_found() {
    let all: BTreeSet<String> = ["f01", "f02", "s01"].map(str::to_owned).into();
    let file = [TextFile::new(
        "x.rs",
        "#[test]\nfn f01_s01_a_test() {}\n// fn f02_not() {}\nasync fn fast_path() {}\nfn s1_x() {}",
    )];
    let whats = |excused: &[(&str, &str)]| -> Vec<String> {
        gaps(&file, &all, excused).into_iter().map(|finding| finding.what).collect()
    };
    assert_eq!(whats(&[]), ["f02 has no test"]);
    assert_eq!(whats(&[("f02", " ")]), ["f02 has no test"]);
    assert!(whats(&[("f02", "it cannot happen")]).is_empty());
    assert_eq!(whats(&[("f02", "no"), ("f01", "no")]), ["f01 is excused, but has a test"]);
    assert_eq!(whats(&[("f02", "no"), ("f99", "no")]), ["f99 is excused, but not in the list"]);
    let wrong = [TextFile::new("x.rs", "fn f01_f02_f77_s01_a() {}")];
    assert_eq!(gaps(&wrong, &all, &[])[0].what, "there is no f77");
}
