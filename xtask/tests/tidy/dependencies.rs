//! Which crate may depend on which, and on what from outside.

use std::collections::{BTreeMap, BTreeSet};

use crate::finding::{Finding, assert_none};
use crate::workspace::{Member, Package, Purpose, TextFile, all_rust_files, cargo_text, file, rust_files, workspace};

/// A crate's place in the workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Core,
    Http,
    /// What sources and stores of one database share.
    Database,
    /// Reads models or keeps state.
    Storage,
    Adapter,
    Testkit,
    /// Examples, benches and planted defects: may use everything.
    Top,
    /// Tools of the project: use nothing.
    Tool,
}

fn role(name: &str) -> Role {
    match name {
        "rsync-core" => Role::Core,
        "rsync-http" => Role::Http,
        "rsync-postgres" => Role::Database,
        "rsync-testkit" => Role::Testkit,
        "rsync-examples" | "rsync-benches" | "rsync-defects" => Role::Top,
        "xtask" => Role::Tool,
        _ if name.ends_with("-source") || name.ends_with("-state") => Role::Storage,
        _ => Role::Adapter,
    }
}

fn may_use(user: Role, used: Role, purpose: Purpose) -> bool {
    match user {
        Role::Top => true,
        Role::Tool | Role::Core => false,
        Role::Testkit => used == Role::Core,
        Role::Http | Role::Database => used == Role::Core || (used == Role::Testkit && purpose == Purpose::Dev),
        Role::Storage => {
            matches!(used, Role::Core | Role::Database) || (used == Role::Testkit && purpose == Purpose::Dev)
        }
        Role::Adapter => matches!(used, Role::Core | Role::Http) || (used == Role::Testkit && purpose == Purpose::Dev),
    }
}

fn direction(members: &[Member]) -> Vec<Finding> {
    let own: BTreeSet<_> = members.iter().map(|member| member.name.as_str()).collect();
    let mut findings = Vec::new();
    for member in members {
        for (name, purpose) in member.dependencies.iter().filter(|(name, _)| own.contains(name.as_str())) {
            if !may_use(role(&member.name), role(name), *purpose) {
                findings.push(Finding {
                    file: member.manifest.path.clone(),
                    line: member.manifest.line_of(name),
                    what: format!("{} depends on {name}{}", member.name, if *purpose == Purpose::Dev { " in tests" } else { "" }),
                    why: "core knows nobody, adapters know core and http only, and the testkit serves tests; so an adapter can \
                          be written, tested and removed without touching another crate",
                    fix: "move what is shared down into rsync-core or rsync-http, or the test up into examples",
                });
            }
        }
    }
    findings
}

#[test]
fn workspace_crates_depend_downwards_only() {
    assert_none(&direction(&workspace().members));
}

#[test]
fn a_wrong_direction_is_found() {
    let member = |name: &str, dependencies: &[(&str, Purpose)]| Member {
        name: name.into(),
        manifest: TextFile::new(format!("{name}/Cargo.toml"), "[package]\n\n[dependencies]\nrsync-testkit = {}"),
        dependencies: dependencies.iter().map(|(name, purpose)| ((*name).to_owned(), *purpose)).collect(),
    };
    let found = |name: &str, dependency: &str, purpose: Purpose| {
        let mut members = vec![member(name, &[(dependency, purpose), ("serde", Purpose::Normal)])];
        members.extend(["rsync-core", "rsync-http", "rsync-hubspot", "rsync-testkit"].map(|name| member(name, &[])));
        direction(&members)
    };
    let [finding] = &found("rsync-x", "rsync-testkit", Purpose::Normal)[..] else { panic!() };
    assert_eq!((finding.file.as_str(), finding.line), ("rsync-x/Cargo.toml", 4));
    for (name, dependency, purpose, count) in [
        ("rsync-x", "rsync-testkit", Purpose::Dev, 0),
        ("rsync-x", "rsync-http", Purpose::Normal, 0),
        ("rsync-x", "rsync-hubspot", Purpose::Dev, 1),
        ("rsync-x-source", "rsync-http", Purpose::Normal, 1),
        ("rsync-x-state", "rsync-http", Purpose::Normal, 1),
        ("rsync-x-state", "rsync-testkit", Purpose::Dev, 0),
        ("rsync-examples", "rsync-hubspot", Purpose::Normal, 0),
        ("xtask", "rsync-core", Purpose::Normal, 1),
    ] {
        assert_eq!(found(name, dependency, purpose).len(), count, "{name} -> {dependency} {purpose:?}");
    }
}

/// Crates of HTTP, TLS and SQL; a `*` at the end stands for any rest.
const NOT_IN_CORE: &[&str] = &[
    "reqwest",
    "ureq",
    "isahc",
    "curl*",
    "hyper*",
    "h2",
    "h3*",
    "http",
    "http-body*",
    "axum*",
    "tonic*",
    "tower-http",
    "warp",
    "rustls*",
    "native-tls",
    "openssl*",
    "aws-lc*",
    "ring",
    "schannel",
    "security-framework*",
    "webpki*",
    "tokio-postgres*",
    "postgres*",
    "sqlx*",
    "rusqlite",
    "libsqlite3-sys",
    "duckdb*",
    "datafusion*",
    "sqlparser",
    "object_store",
    "arrow-flight",
    "adbc*",
];

fn matches(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |start| name.starts_with(start))
}

fn forbidden_in_core(tree: &BTreeSet<String>) -> Vec<Finding> {
    let findings = tree.iter().filter(|name| NOT_IN_CORE.iter().any(|pattern| matches(pattern, name))).map(|name| Finding {
        file: "rsync-core/Cargo.toml".into(),
        line: 1,
        what: format!("rsync-core pulls in {name}"),
        why: "core is the part that every host compiles; HTTP, TLS and SQL belong to the crates that speak them",
        fix: "find the way with `cargo tree -p rsync-core -e normal -i <crate>` and cut it, or move the code to an adapter",
    });
    findings.collect()
}

/// The crates that are compiled into users of `package`, without itself.
fn tree(package: &str) -> BTreeSet<String> {
    let text = cargo_text(&["tree", "-p", package, "-e", "normal", "--prefix", "none", "--format", "{p}"]);
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?))
        })
        .filter(|line| line.split(' ').next() != Some(package))
        .collect()
}

fn names(tree: &BTreeSet<String>) -> BTreeSet<String> {
    tree.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn core_has_no_http_tls_or_sql() {
    let tree = names(&tree("rsync-core"));
    assert!(tree.contains("arrow"), "the tree is read wrongly");
    assert_none(&forbidden_in_core(&tree));
}

#[test]
fn a_transport_in_core_is_found() {
    let tree = ["arrow", "http", "httpdate", "hyper-util", "tokio"].map(str::to_owned).into();
    assert_eq!(forbidden_in_core(&tree).len(), 2);
}

/// The services, as they are written anywhere, in lower case.
const SERVICES: &[&str] = &[
    "hubspot",
    "salesforce",
    "customer.io",
    "customerio",
    "braze",
    "marketo",
    "klaviyo",
    "intercom",
    "zendesk",
    "mailchimp",
];

fn services_in_core(files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        for (i, line) in file.text.lines().enumerate() {
            let line = line.to_lowercase();
            for service in SERVICES.iter().filter(|service| line.contains(**service)) {
                findings.push(Finding {
                    file: file.path.clone(),
                    line: i + 1,
                    what: format!("core names the service {service:?}"),
                    why: "what core knows of one service, it gets wrong for the next; a new destination must edit no file of core",
                    fix: "say what the service does instead of its name, as a capability if code depends on it",
                });
            }
        }
    }
    findings
}

#[test]
fn core_names_no_service() {
    assert_none(&services_in_core(&rust_files("rsync-core/src")));
}

#[test]
fn a_service_in_a_comment_is_found() {
    let files = [TextFile::new("rsync-core/src/x.rs", "fn a() {}\n// as HubSpot does\n")];
    let [finding] = &services_in_core(&files)[..] else { panic!() };
    assert_eq!(finding.line, 2);
}

/// Crates whose types meet in signatures, or of which one process should hold one.
const ONE_VERSION: &[&str] =
    &["arrow", "arrow-*", "parquet", "datafusion*", "tokio", "hyper", "http", "rustls", "reqwest", "thiserror"];

fn doubled(lock: &TextFile) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    let lines: Vec<_> = lock.text.lines().collect();
    for (i, pair) in lines.windows(2).enumerate() {
        let value = |line: &'static str, at: usize| pair[at].strip_prefix(line)?.strip_suffix('"');
        if let (Some(name), Some(version)) = (value("name = \"", 0), value("version = \"", 1)) {
            versions.entry(name).or_default().push((i + 1, version));
        }
    }
    versions
        .into_iter()
        .filter(|(name, found)| found.len() > 1 && ONE_VERSION.iter().any(|pattern| matches(pattern, name)))
        .map(|(name, found)| Finding {
            file: lock.path.clone(),
            line: found[1].0,
            what: format!("{name} is there in versions {}", found.iter().map(|(_, v)| *v).collect::<Vec<_>>().join(" and ")),
            why: "two versions give two types of the same name (`expected RecordBatch, found RecordBatch`), two runtimes or two \
                  TLS stacks, and double the build",
            fix: "see who asks for which with `cargo tree -i <crate>@<version>`; pin in [workspace.dependencies], or \
                  `cargo update -p <crate>@<version> --precise <other>`",
        })
        .collect()
}

#[test]
fn shared_crates_have_one_version() {
    assert_none(&doubled(&file("Cargo.lock")));
}

#[test]
fn a_second_version_is_found() {
    let package = |name: &str, version: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
    let lock = [
        package("arrow-array", "59.3.2"),
        package("arrow-array", "60.1.0"),
        package("syn", "2.0.1"),
        package("syn", "3.0.0"),
    ];
    let [finding] = &doubled(&TextFile::new("Cargo.lock", lock.concat()))[..] else { panic!() };
    assert_eq!((finding.line, finding.what.contains("59.3.2 and 60.1.0")), (6, true));
}

/// Crates that users of a crate compile, at most: what was measured when this was written, plus a tenth; and the dozen that
/// encrypt what waits in the state (AES-GCM-SIV).
fn limit(name: &str) -> Option<usize> {
    match role(name) {
        Role::Core => Some(105),
        Role::Http | Role::Adapter => Some(199),
        // Above the adapters it has what checks a Salesforce assertion and records log lines.
        Role::Testkit => Some(205),
        Role::Database | Role::Storage => Some(261),
        Role::Top | Role::Tool => None,
    }
}

fn too_many(name: &str, count: usize) -> Option<Finding> {
    let limit = limit(name).filter(|limit| count > *limit)?;
    Some(Finding {
        file: format!("{name}/Cargo.toml"),
        line: 1,
        what: format!("users of {name} compile {count} crates, {limit} were agreed"),
        why: "every crate is build time for all users, and code that someone must trust",
        fix: "drop the dependency or its features; if it is worth it, raise the limit here in the same change and say why",
    })
}

#[test]
fn s18_dependency_counts_stay_within_limits() {
    let findings: Vec<_> = workspace()
        .members
        .iter()
        .filter_map(|m| too_many(&m.name, if limit(&m.name).is_some() { tree(&m.name).len() } else { 0 }))
        .collect();
    assert_none(&findings);
}

#[test]
fn too_many_dependencies_are_found() {
    assert!(too_many("rsync-core", 106).is_some() && too_many("rsync-core", 105).is_none());
    assert!(too_many("rsync-x", 200).is_some() && too_many("rsync-examples", 1000).is_none());
}

fn backoff_users(files: &[TextFile], members: &[Member]) -> Vec<Finding> {
    let finding = |file: &str, line: usize| Finding {
        file: file.to_owned(),
        line,
        what: "the crate `backoff` is used outside rsync-core's `retry`".into(),
        why: "the crate is unmaintained, and its own loop ignores the time limit whenever a server names a delay; one module \
              uses it as a table of delays and can be rewritten in an hour",
        fix: "call rsync_core::retry",
    };
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !file.path.starts_with("rsync-core/src/retry")) {
        for (i, line) in file.code().lines().enumerate() {
            let uses = ["backoff::", "use backoff", "extern crate backoff"].iter().any(|use_| {
                line.match_indices(use_)
                    .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
            });
            if uses {
                findings.push(finding(&file.path, i + 1));
            }
        }
    }
    for member in members.iter().filter(|member| member.name != "rsync-core") {
        if member.dependencies.iter().any(|(name, _)| name == "backoff") {
            findings.push(finding(&member.manifest.path, member.manifest.line_of("backoff")));
        }
    }
    findings
}

#[test]
fn backoff_stays_in_one_module() {
    assert_none(&backoff_users(&all_rust_files(), &workspace().members));
}

#[test]
fn backoff_elsewhere_is_found() {
    let files = [
        TextFile::new("rsync-core/src/retry.rs", "use backoff::ExponentialBackoff;"),
        TextFile::new(
            "rsync-core/src/run.rs",
            "// backoff::x\nlet my_backoff::y = crate::backoff::z;\nbackoff::retry(x);",
        ),
    ];
    let [finding] = &backoff_users(&files, &[])[..] else { panic!() };
    assert_eq!((finding.file.as_str(), finding.line), ("rsync-core/src/run.rs", 3));
}

/// Licences that may be combined with ours in one program.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    "bzip2-1.0.6",
];

/// Whether an SPDX expression can be met with allowed licences alone.
fn allowed(expression: &str) -> bool {
    fn either<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut ok = both(words);
        while words.next_if(|word| matches!(*word, "OR" | "/")).is_some() {
            ok |= both(words);
        }
        ok
    }
    fn both<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        let mut ok = one(words);
        while words.next_if_eq(&"AND").is_some() {
            ok &= one(words);
        }
        ok
    }
    fn one<'a>(words: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>) -> bool {
        match words.next() {
            Some("(") => {
                let ok = either(words);
                words.next_if_eq(&")").is_some() && ok
            }
            Some(name) if words.next_if_eq(&"WITH").is_some() => {
                LICENCES.contains(&format!("{name} WITH {}", words.next().unwrap_or_default()).as_str())
            }
            Some(name) => LICENCES.contains(&name),
            None => false,
        }
    }
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " / ");
    let mut words = spaced.split_whitespace().peekable();
    either(&mut words) && words.next().is_none()
}

fn licences(packages: &[Package]) -> Vec<Finding> {
    let findings = packages.iter().filter(|p| !p.license.as_deref().is_some_and(allowed)).map(|package| Finding {
        file: "Cargo.lock".into(),
        line: 1,
        what: format!(
            "{} {} has the licence {:?}",
            package.name,
            package.version,
            package.license.as_deref().unwrap_or("(none given)")
        ),
        why: "hosts link all of it into one program and must be able to ship that",
        fix: "use another crate, or have the licence accepted: add it to the list here and in deny.toml",
    });
    findings.collect()
}

#[test]
fn licences_are_permissive() {
    assert!(workspace().packages.len() > 100);
    assert_none(&licences(&workspace().packages));
}

#[test]
fn other_licences_are_found() {
    for (expression, ok) in [
        ("MIT OR Apache-2.0", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0 OR MIT", true),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
        ("GPL-3.0", false),
        ("MIT AND GPL-3.0", false),
        ("MIT OR Apache-2.0 AND (GPL-3.0 OR LGPL-3.0)", true),
        ("Apache-2.0 AND (GPL-3.0 OR LGPL-3.0)", false),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
        ("(MIT", false),
        ("", false),
    ] {
        assert_eq!(allowed(expression), ok, "{expression}");
    }
    let package = Package { name: "x".into(), version: "1.0.0".into(), license: None };
    assert_eq!(licences(&[package]).len(), 1);
}

/// The list stands twice, since `cargo deny` cannot be run everywhere.
#[test]
fn both_licence_lists_agree() {
    let deny = file("deny.toml");
    let start = deny.text.find("[licenses]").unwrap();
    let list = &deny.text[start..][..deny.text[start..]
        .find(']')
        .map_or(0, |first| first + 1 + deny.text[start + first + 1..].find(']').unwrap())];
    let mut listed: Vec<_> = list.split('"').skip(1).step_by(2).collect();
    listed.sort_unstable();
    assert_eq!(listed, LICENCES);
}
