//! The directions of dependencies, read from the source: arrows point down only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may use. A module is named by its path; anything not listed is forbidden.
const MAY_USE: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("rate_limit", &[]),
    ("term", &["text"]),
    ("chat", &["rate_limit", "text"]),
    ("clock", &["chat::ids"]),
    (
        "store",
        &["chat", "rate_limit", "telemetry::metrics", "text"],
    ),
    ("store::dynamo", &["aws", "chat", "clock", "text", "store"]),
    ("aws", &["clock", "rate_limit", "telemetry::metrics"]),
    ("secrets", &["aws", "chat::ids"]),
    ("keys", &["chat", "text"]),
    (
        "access",
        &[
            "chat",
            "text",
            "hub",
            "store",
            "clock",
            "rate_limit",
            "telemetry::metrics",
        ],
    ),
    (
        "hub",
        &[
            "chat",
            "text",
            "store",
            "clock",
            "rate_limit",
            "telemetry::metrics",
        ],
    ),
    (
        "session",
        &[
            "access",
            "chat",
            "text",
            "term",
            "hub",
            "keys",
            "store",
            "clock",
            "rate_limit",
            "telemetry::metrics",
        ],
    ),
    (
        "ssh",
        &[
            "access::authenticator",
            "session::peer",
            "chat::ids",
            "keys",
            "rate_limit",
            "telemetry::metrics",
            "text",
        ],
    ),
    (
        "web",
        &[
            "chat",
            "clock",
            "http_server",
            "keys",
            "rate_limit",
            "store",
            "text",
        ],
    ),
    ("http_server", &["rate_limit"]),
    ("telemetry", &[]),
    ("telemetry::listener", &["http_server"]),
    ("telemetry::logs", &["config", "rate_limit"]),
    ("config", &["chat", "keys"]),
    (
        "cli",
        &["chat", "config", "keys", "secrets", "store", "text"],
    ),
    (
        "app",
        &[
            "access",
            "aws",
            "chat",
            "cli",
            "clock",
            "config",
            "hub",
            "rate_limit",
            "secrets",
            "session",
            "ssh",
            "store",
            "telemetry",
            "text",
            "web",
        ],
    ),
    ("main", &[]),
    ("lib", &[]),
];

/// Adapters, which only `app` and they themselves may use.
const ADAPTERS: &[&str] = &[
    "store::dynamo",
    "store::sqlite",
    "secrets::file",
    "secrets::aws",
    "secrets::parameter",
];

/// Crates that belong to one module, and the modules that may use them.
const CRATES: &[(&str, &[&str])] = &[
    ("russh", &["ssh"]),
    ("russh::keys", &["keys", "ssh", "secrets"]),
    ("rusqlite", &["store::sqlite"]),
    ("clap", &["cli", "main"]),
    ("toml", &["config"]),
    (
        "tokio",
        &[
            "access",
            "app",
            "aws",
            "clock",
            "http_server",
            "hub",
            "secrets::aws",
            "secrets::parameter",
            "session",
            "ssh",
            "store::dynamo",
            "store::sqlite",
            "telemetry::listener",
            "web",
        ],
    ),
    ("axum", &["http_server", "telemetry::listener", "web"]),
    ("hyper", &["aws", "http_server", "web::lambda"]),
    ("hyper_util", &["http_server", "web::lambda"]),
    ("maud", &["web"]),
    ("multer", &["web"]),
    ("prometheus_client", &["telemetry::metrics"]),
    ("aws_config", &["aws"]),
    ("aws_sdk_secretsmanager", &["aws", "secrets::aws"]),
    ("aws_sdk_dynamodb", &["aws", "store::dynamo"]),
    ("aws_sigv4", &["aws"]),
    ("aws_smithy_runtime", &["aws"]),
    (
        "rand",
        &[
            "access",
            "app",
            "aws",
            "session",
            "secrets",
            "ssh::probe",
            "store::dynamo",
        ],
    ),
    ("anyhow", &["app", "cli", "telemetry"]),
    ("sd_notify", &["app::systemd"]),
    ("listenfd", &["app::systemd"]),
];

/// What pure modules never use. They get the time as an argument.
const PURE: &[&str] = &[
    "chat",
    "rate_limit",
    "session::answers",
    "session::completion",
    "session::composer",
    "session::context",
    "session::describe",
    "session::display",
    "session::machine",
    "session::pipe",
    "session::requests",
    "session::returned",
    "session::rooms",
    "session::theme",
    "session::zone",
    "term",
    "text",
];
const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "clock::now",
    "clock::monotonic",
    "clock::both",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::thread",
    "std::process",
    "async fn",
    "println!",
];

/// Modules that may read the wall clock and do arithmetic on it: those that decide when an invite,
/// a ban or the like expires. Durations are measured with an `Instant`, which isn't affected when
/// the wall clock steps.
const WALL_TIME: &[(&str, &[&str])] = &[
    ("SystemTime::now", &["clock", "telemetry::logs"]),
    (
        ".plus(",
        &[
            "access::admission",
            "access::moderation",
            "chat::access",
            "cli::invite",
            "store::dynamo::pending",
            "store::dynamo::log",
            "web::registration",
        ],
    ),
    (".minus(", &["access::moderation"]),
    (".left_until(", &["access", "cli::doctor", "store::change"]),
];

/// Maximum length of a file in lines, including its unit tests.
const LONGEST: usize = 800;

/// A source file without comments and unit tests.
struct Source {
    path: PathBuf,
    /// Its module path: `store::sqlite::schema`.
    module: String,
    code: String,
    lines: usize,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.push(Source::read(&root, path));
            }
        }
    }
    assert!(sources.len() > 40, "the source files were found");
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

impl Source {
    fn read(root: &Path, path: PathBuf) -> Source {
        let text = fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(root).unwrap().with_extension("");
        let parts: Vec<&str> = relative.iter().map(|part| part.to_str().unwrap()).collect();
        let parts = match parts.split_last() {
            Some((&"mod", folders)) => folders,
            _ => &parts,
        };
        Source {
            module: parts.join("::"),
            code: code(&text),
            lines: text.lines().count(),
            path,
        }
    }

    fn is_test(&self) -> bool {
        self.module.split("::").any(|part| part == "tests")
    }

    /// Paths in it that begin with `start`, such as `crate` or `russh`, without that: `use
    /// crate::{a::b, c}` yields `a::b` and `c`.
    fn paths(&self, start: &str) -> BTreeSet<String> {
        let wanted = format!("{start}::");
        let mut paths = BTreeSet::new();
        for (at, _) in self.code.match_indices(&wanted) {
            let before = self.code[..at].chars().next_back();
            if before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':')) {
                expand(&self.code[at + wanted.len()..], "", &mut paths);
            }
        }
        paths
    }

    /// Whether the file is that module or in it.
    fn within(&self, part: &str) -> bool {
        is_within(&self.module, part)
    }
}

fn is_within(path: &str, part: &str) -> bool {
    path.strip_prefix(part)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The code without comments and unit tests.
fn code(text: &str) -> String {
    let tests = text
        .match_indices("#[cfg(test)]\n")
        .find(|(at, attribute)| {
            let item = text[at + attribute.len()..].lines().next();
            item.is_some_and(|item| item.ends_with("mod tests {"))
        });
    let lines = text[..tests.map_or(text.len(), |(at, _)| at)].lines();
    let lines = lines.map(|line| match line.find("//") {
        Some(at) if !line[..at].contains('"') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Adds the paths at the start of a text: one, or a tree in braces.
fn expand(text: &str, before: &str, paths: &mut BTreeSet<String>) {
    let text = text.trim_start();
    if let Some(tree) = text.strip_prefix('{') {
        for branch in branches(tree) {
            expand(branch, before, paths);
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let path = match before {
        "" => word.to_owned(),
        before => format!("{before}::{word}"),
    };
    if let Some(deeper) = rest.strip_prefix("::") {
        expand(deeper, &path, paths);
    } else {
        paths.insert(path);
    }
}

/// The comma-separated parts of a tree, up to its closing brace.
fn branches(tree: &str) -> Vec<&str> {
    let mut branches = Vec::new();
    let mut from = 0;
    let mut depth = 0;
    for (at, c) in tree.char_indices() {
        let ends = depth == 0 && matches!(c, ',' | '}');
        if ends && !tree[from..at].trim().is_empty() {
            branches.push(&tree[from..at]);
        }
        match c {
            ',' if depth == 0 => from = at + 1,
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    branches
}

#[test]
fn paths_are_read() {
    let source = Source {
        path: PathBuf::new(),
        module: "a".to_owned(),
        code: code(
            "use crate::{a::{B, c::D as E}, f};\n// crate::no\nlet x = crate::g::h(); mycrate::i",
        ),
        lines: 0,
    };
    let expected = ["a::B", "a::c::D", "f", "g::h"].map(str::to_owned);
    assert_eq!(source.paths("crate"), BTreeSet::from(expected));
}

#[test]
fn arrows_point_down() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        let part = source.module.split("::").next().unwrap();
        let rules = MAY_USE.iter().filter(|(name, _)| source.within(name));
        let Some((_, allowed)) = rules.max_by_key(|(name, _)| name.len()) else {
            wrong.push(format!(
                "{part} is a new module: list in this test what it may use"
            ));
            continue;
        };
        for path in source.paths("crate") {
            let own = is_within(&path, part);
            let fine = own || allowed.iter().any(|other| is_within(&path, other));
            if !fine {
                wrong.push(format!("{} uses {path}", source.path.display()));
            }
            for adapter in ADAPTERS {
                let named = is_within(&path, adapter);
                if named && !source.within(adapter) && part != "app" {
                    wrong.push(format!("{} uses the adapter {path}", source.path.display()));
                }
            }
        }
        // `super::super` would leave the module without naming `crate`.
        let depth = source.module.split("::").count();
        let climb = "super::".repeat(depth);
        if part != "lib" && part != "main" && source.code.contains(&climb) {
            wrong.push(format!(
                "{} leaves its module with {climb}",
                source.path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Modules that stand beside each other, and which of them each imports: `a` imports `b` if anything
/// within `a` names something within `b`.
fn sibling_imports(sources: &[Source]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let modules: BTreeSet<&str> = sources
        .iter()
        .map(|source| source.module.as_str())
        .collect();
    let mut imports: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let own: Vec<&str> = source.module.split("::").collect();
        let absolute = source.paths("crate");
        let within = source.paths("self").into_iter();
        let within = within.map(|path| format!("{}::{path}", source.module));
        let above = source.paths("super").into_iter().map(|path| {
            let rest = path.trim_start_matches("super::");
            let up = 1 + (path.len() - rest.len()) / "super::".len();
            let base = &own[..own.len().saturating_sub(up)];
            base.iter()
                .copied()
                .chain([rest])
                .collect::<Vec<_>>()
                .join("::")
        });
        for path in absolute.into_iter().chain(within).chain(above) {
            let path: Vec<&str> = path.split("::").collect();
            let ends = (1..=path.len()).rev().map(|end| path[..end].join("::"));
            let Some(used) = ends
                .into_iter()
                .find(|path| modules.contains(path.as_str()))
            else {
                continue;
            };
            let used: Vec<&str> = used.split("::").collect();
            let common = own.iter().zip(&used).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (own.get(common), used.get(common)) {
                let from = (own[..common].join("::"), (*from).to_owned());
                imports.entry(from).or_default().insert((*to).to_owned());
            }
        }
    }
    imports
}

/// A module that imports itself by way of its siblings has no order in which it can be read.
#[test]
fn siblings_import_in_one_direction() {
    let mut sources = sources();
    sources.retain(|source| !source.is_test());
    let imports = sibling_imports(&sources);
    let reached = |parent: &String, module: &String| {
        let mut reached = BTreeSet::new();
        let mut next = vec![module.clone()];
        while let Some(one) = next.pop() {
            for used in imports.get(&(parent.clone(), one)).into_iter().flatten() {
                if reached.insert(used.clone()) {
                    next.push(used.clone());
                }
            }
        }
        reached
    };
    let mut wrong = Vec::new();
    for ((parent, module), used) in &imports {
        for back in used
            .iter()
            .filter(|used| reached(parent, used).contains(module))
        {
            wrong.push(format!(
                "{parent}: {module} imports {back}, which leads back to {module}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn crates_are_used_only_where_allowed() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (name, _) in CRATES.iter().filter(|(name, _)| !name.contains("::")) {
            for path in source.paths(name) {
                let path = format!("{name}::{path}");
                let (_, places) = CRATES
                    .iter()
                    .filter(|(rule, _)| is_within(&path, rule))
                    .max_by_key(|(rule, _)| rule.len())
                    .unwrap();
                if !places.iter().any(|place| source.within(place)) {
                    wrong.push(format!("{} uses {path}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        if !PURE.iter().any(|part| source.within(part)) {
            continue;
        }
        for impure in IMPURE
            .iter()
            .filter(|impure| source.code.contains(**impure))
        {
            wrong.push(format!("{} uses {impure}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn wall_time_measures_no_duration() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.is_test()) {
        for (code, places) in WALL_TIME {
            let fine = places.iter().any(|place| source.within(place));
            if !fine && source.code.contains(code) {
                wrong.push(format!("{} uses {code}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.lines > LONGEST)
        .map(|source| format!("{}: {} lines", source.path.display(), source.lines))
        .collect();
    assert!(
        long.is_empty(),
        "more than {LONGEST} lines; split by subject:\n{}",
        long.join("\n")
    );
}
