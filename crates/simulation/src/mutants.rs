//! A simulation that cannot fail proves nothing: each mutant takes something out of the operator, and some seed must find
//! it. A mutant is a change of the source, so nothing of it is in the operator itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fault to put into the operator.
pub struct Mutant {
    /// What it does.
    pub name: &'static str,
    file: &'static str,
    /// A text that is there once.
    from: &'static str,
    to: &'static str,
}

/// All mutants.
pub const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "it sends without a claim",
        file: "src/kubernetes/status.rs",
        from: "    match patch(namespaced(client, object)?, object, status).await {\n        Ok(fresh) if ours(&fresh)",
        to: "    if let Some(fresh) = get(client, object).await? {\n        return Ok(proof(fresh));\n    }\n    match patch(namespaced(client, object)?, object, status).await {\n        Ok(fresh) if ours(&fresh)",
    },
    Mutant {
        name: "it sends although another was first",
        file: "src/kubernetes/status.rs",
        from: "Ok(Claimed::Lost(Box::new(fresh)))",
        to: "Ok(proof(fresh))",
    },
    Mutant {
        name: "a claim has no resourceVersion",
        file: "src/kubernetes/status.rs",
        from: "        resource_version: &'a str,",
        to: "        #[serde(skip)]\n        resource_version: &'a str,",
    },
    Mutant {
        name: "the holder is not random",
        file: "src/controller.rs",
        from: "clock::holder().map_err(Error::Randomness)?",
        to: "\"functiongraph-operator-0\".to_owned()",
    },
    Mutant {
        name: "a timeout counts as not sent",
        file: "src/reconcile/answer.rs",
        from: "SendError::Interrupted(_) => (ErrorClass::Ambiguous, Signal::Unreachable),\n        SendError::TimedOut(_) => (ErrorClass::Ambiguous",
        to: "SendError::Interrupted(_) => (ErrorClass::NotSent, Signal::Unreachable),\n        SendError::TimedOut(_) => (ErrorClass::NotSent",
    },
    Mutant {
        name: "a 504 counts as not accepted",
        file: "crates/functiongraph/src/answer/verdict.rs",
        from: "503 => Verdict::Unavailable",
        to: "503 | 504 => Verdict::Unavailable",
    },
    Mutant {
        name: "a takeover sends again",
        file: "src/reconcile/invocation.rs",
        from: "let why = \"the operator process that was sending it did not report back\";\n                record::ambiguous(view, why, now, clock::chance())",
        to: "record::handed_back(view, now)",
    },
    Mutant {
        name: "nobody takes over",
        file: "src/lifecycle/decide.rs",
        from: "Some(_) | None => Step::TakeOver",
        to: "Some(_) | None => Step::Observe(Duration::from_secs(60))",
    },
    Mutant {
        name: "it forgets that it hands a claim back",
        file: "src/reconcile/attempt.rs",
        from: "        self.context.journal.returned(&self.attempt_id(claim.number()));\n        let object",
        to: "        let object",
    },
    Mutant {
        name: "an attempt that was begun is handed back",
        file: "src/lifecycle/decide.rs",
        from: "Progress::Sent => Step::GiveUpOwn",
        to: "Progress::Sent => Step::HandBack",
    },
    Mutant {
        name: "a claim that is read again counts as unsent",
        file: "src/reconcile/attempt.rs",
        from: "context.journal.progress(&attempt) == Progress::Nothing",
        to: "!attempt.owner.uid.is_empty()",
    },
    Mutant {
        name: "an empty list counts as a proof",
        file: "src/reconcile/lookup.rs",
        from: "        let shared = self.object.spec.provider_ref.kind",
        to: "        if seen.ids.is_empty() {\n            return Ok(self.write(&record::handed_back(&self.view, self.now())).await?);\n        }\n        let shared = self.object.spec.provider_ref.kind",
    },
    Mutant {
        name: "an annotation of an attempt under way counts",
        file: "src/lifecycle/resolve.rs",
        from: "    if !matches!(subject(view.status), Some(Subject::Ambiguous | Subject::Lost)) {",
        to: "    if view.uid.is_empty() {",
    },
    Mutant {
        name: "ambiguous attempts are not counted",
        file: "src/lifecycle/record/answer.rs",
        from: "            set_state(&mut status, AttemptState::Ambiguous);\n            status.failed_attempts = Some(view.failed().saturating_add(1));",
        to: "            set_state(&mut status, AttemptState::Ambiguous);",
    },
    Mutant {
        name: "a refused credential is never tried again",
        file: "src/credential/memory.rs",
        from: "until: at + source.pause_after(call)",
        to: "until: at + source.pause_after(call) * 1000",
    },
    Mutant {
        name: "what it said of objects that are gone is kept",
        file: "src/context.rs",
        from: "        self.notices.prune(&is_there);\n",
        to: "",
    },
    Mutant {
        name: "a provider is checked again at once",
        file: "src/reconcile/provider.rs",
        from: "|rest| Action::requeue(rest.max(RECONCILE_DELAY_MIN))",
        to: "|_| Action::requeue(RECONCILE_DELAY_MIN)",
    },
];

// === impl Mutant ===

impl Mutant {
    /// The changed text of its file, if it has its place there.
    fn apply(&self, root: &Path) -> io::Result<Option<String>> {
        let text = fs::read_to_string(root.join(self.file))?;
        Ok((text.matches(self.from).count() == 1).then(|| text.replace(self.from, self.to)))
    }
}

/// The mutants that have lost their place in the source.
///
/// # Errors
/// A file cannot be read.
pub fn without_a_place() -> io::Result<Vec<&'static str>> {
    let mut lost = Vec::new();
    for mutant in MUTANTS {
        if mutant.apply(&root())?.is_none() {
            lost.push(mutant.name);
        }
    }
    Ok(lost)
}

/// Builds each mutant whose name has `filter` in it, and gives its program to `hunt`.
///
/// # Errors
/// A file cannot be read or written, or a mutant does not compile.
pub fn build(filter: &str, mut hunt: impl FnMut(&Mutant, &Path)) -> io::Result<()> {
    let (root, place) = (root(), root().join("target/mutants"));
    let tree = place.join("tree");
    for mutant in MUTANTS.iter().filter(|mutant| mutant.name.contains(filter)) {
        let mut files = files(&root)?;
        let changed = mutant.apply(&root)?.ok_or_else(|| io::Error::other(mutant.name))?;
        files.insert(mutant.file.into(), changed.into_bytes());
        // Another version, or cargo would take what it builds here for what it has built of the project itself.
        let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
        let manifest = manifest.replacen("\nversion = \"", "\nversion = \"9", 1);
        files.insert("Cargo.toml".into(), manifest.into_bytes());
        for (name, bytes) in files {
            write_changed(&tree.join(name), &bytes)?;
        }
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--quiet", "--offline", "--profile", "simulation", "-p", "simulation"])
            .current_dir(&tree);
        // What is compiled already is shared; the programs are not.
        cargo.env("CARGO_BUILD_BUILD_DIR", root.join("target")).env("CARGO_TARGET_DIR", &place);
        cargo.env("RUSTFLAGS", "").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if !cargo.status()?.success() {
            return Err(io::Error::other(format!("{} does not compile", mutant.name)));
        }
        hunt(mutant, &place.join("simulation/simulation"));
    }
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of the project, as they are now.
fn files(root: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let names = list.output()?.stdout;
    let names = String::from_utf8_lossy(&names).lines().map(PathBuf::from).collect::<Vec<_>>();
    let is_needed = |name: &&PathBuf| {
        ["src", "crates", "fuzz", "benches", "examples", "tests", "crds", ".cargo"]
            .iter()
            .any(|folder| name.starts_with(folder))
            || name.extension().is_some_and(|extension| extension == "toml" || extension == "lock")
    };
    let needed = names.iter().filter(is_needed).filter(|name| root.join(name).is_file());
    needed.map(|name| Ok((name.clone(), fs::read(root.join(name))?))).collect()
}

/// Writes a file unless it is as it should be, so that cargo compiles only what has changed.
fn write_changed(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}
