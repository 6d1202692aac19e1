//! Planted defects stay out of what users build.

use crate::finding::{Finding, assert_none};
use crate::workspace::{Member, TextFile, cargo_text, file, workspace};

const FEATURE: &str = "planted-defects";
/// The only package that plants them.
const PLANTER: &str = "rsync-defects";
/// The only line elsewhere that names the feature: where it is declared.
const DECLARATION: &str = "planted-defects = []";

fn planted(members: &[Member], root: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut finding = |file: &TextFile, line: usize, what: String| {
        findings.push(Finding {
            file: file.path.clone(),
            line,
            what,
            why: "a switch for defects must not exist in what users build, and one member that sets it sets it for all",
            fix: "test planted defects in rsync-defects only, and keep it out of default-members",
        });
    };
    for member in members.iter().filter(|member| member.name != PLANTER) {
        for (i, line) in member.manifest.text.lines().enumerate() {
            if line.contains(FEATURE) && !(member.name == "rsync-core" && line == DECLARATION) {
                finding(&member.manifest, i + 1, format!("{} names the feature {FEATURE}", member.name));
            }
        }
        if member.dependencies.iter().any(|(name, _)| name == PLANTER) {
            let line = member.manifest.line_of(PLANTER);
            finding(&member.manifest, line, format!("{} depends on {PLANTER}", member.name));
        }
    }
    let default = root.text.split("default-members").nth(1).and_then(|rest| rest.split(']').next());
    if default.is_none_or(|list| list.contains("\"defects\"")) {
        finding(root, root.line_of("default-members"), format!("{PLANTER} is built by default"));
    }
    findings
}

#[test]
fn s24_no_default_member_can_plant_defects() {
    assert_none(&planted(&workspace().members, &file("Cargo.toml")));
    // What cargo makes of it: the features of everything that is built by default.
    let features = cargo_text(&["tree", "-e", "features", "--prefix", "none"]);
    assert!(features.contains("rsync-core feature \"default\""), "the tree is read wrongly");
    assert!(!features.contains(FEATURE), "the default members are built with {FEATURE}");
}

#[test]
fn a_planted_defect_is_found() {
    let member = |name: &str, text: &str, uses: &[&str]| Member {
        name: name.into(),
        manifest: TextFile::new(format!("{name}/Cargo.toml"), text),
        dependencies: uses.iter().map(|name| ((*name).to_owned(), crate::workspace::Purpose::Dev)).collect(),
    };
    let clean = TextFile::new("Cargo.toml", "members = [\"defects\"]\ndefault-members = [\"rsync-core\"]");
    let count = |members: &[Member], root: &TextFile| planted(members, root).len();
    let core = member("rsync-core", "[features]\nplanted-defects = []", &[]);
    assert_eq!(count(&[core, member(PLANTER, "features = [\"planted-defects\"]", &[])], &clean), 0);
    assert_eq!(count(&[member("rsync-core", "default = [\"planted-defects\"]", &[])], &clean), 1);
    assert_eq!(count(&[member("rsync-x", "rsync-core = { features = [\"planted-defects\"] }", &[])], &clean), 1);
    assert_eq!(count(&[member("rsync-x", "rsync-defects.workspace = true", &[PLANTER])], &clean), 1);
    let built = TextFile::new("Cargo.toml", "members = []\ndefault-members = [\n    \"defects\",\n]");
    assert_eq!(count(&[], &built), 1);
}
