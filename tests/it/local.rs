//! docs/tutorial.md: `make local`, and the commands that follow it.

use crate::console::{self, Waiver};
use crate::documents::{read, root};
use std::path::Path;
use std::process::Stdio;
use testkit::control_plane::{ADMIN, tool};
use testkit::{PATIENCE, World, bare_plane, output, text, until, within};
use tokio::process::Command;

#[tokio::test]
async fn the_tutorial_does_what_it_shows_and_ctrl_c_ends_what_it_started() {
    let plane = bare_plane().await;
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(tool("kubectl").unwrap(), folder.path().join("kubectl")).unwrap();
    let shell = |program: &str| {
        let mut command = Command::new(program);
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap_or_default());
        command.current_dir(root()).env("PATH", path).env("KUBECONFIG", plane.kubeconfig(ADMIN).unwrap());
        command
    };
    let log = folder.path().join("log");
    let into_log = || std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
    // A shell cannot catch what was ignored when it began, and a test in the background begins so.
    let mut local = shell("env");
    local.args(["--default-signal=INT", "tools/local.sh"]);
    local.env("OPERATOR", env!("CARGO_BIN_EXE_functiongraph-operator"));
    // Beside it, where the whole workspace is built. Else the script builds it.
    let emulator =
        Path::new(env!("CARGO_BIN_EXE_functiongraph-operator")).with_file_name("functiongraph-emulator");
    if emulator.is_file() {
        local.env("EMULATOR", emulator);
    }
    for port in ["", "ADMIN_", "LOCAL_"] {
        local.env(format!("FUNCTIONGRAPH_EMULATOR_{port}LISTEN"), "127.0.0.1:0");
    }
    local.stdin(Stdio::null()).stdout(into_log()).stderr(into_log()).kill_on_drop(true);
    let mut local = local.spawn().unwrap();
    let ready = async || read(&log).contains("\nReady: ") || matches!(local.try_wait(), Ok(Some(_)));
    // The script itself waits twice, a minute at most, and calls kubectl five times.
    let in_time = tokio::time::timeout(PATIENCE * 3, until(ready)).await;
    assert!(in_time.is_ok(), "{}", read(&log));

    let mut wrong = Vec::new();
    let blocks = console::blocks(&read(&root().join("docs/tutorial.md")));
    let ours = |block: &&console::Block| matches!(&block.waiver, Some(Waiver::RunBy(file)) if file == "tests/it/local.rs");
    let commands: Vec<_> = blocks.iter().filter(ours).flat_map(|block| &block.commands).collect();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        let mut bash = shell("bash");
        bash.current_dir(folder.path());
        bash.args(["-euo", "pipefail", "-c", &format!("exec 2>&1\n{}", command.text)]);
        let said = text(&output(bash, "").await.stdout);
        let missing = console::missing(&command.output, &said);
        if !missing.is_empty() {
            wrong.push(format!("{}: {}\ndid not print {missing:?} but:\n{said}", command.line, command.text));
        }
    }

    let started = text(&output(pgrep(&local.id().unwrap().to_string()), "").await.stdout);
    assert!(started.lines().count() >= 2, "{started}");
    let mut kill = Command::new("kill");
    kill.args(["-INT", &local.id().unwrap().to_string()]);
    assert!(output(kill, "").await.status.success());
    assert_eq!(within(local.wait()).await.unwrap().code(), Some(130), "{}", read(&log));
    for program in started.lines() {
        let mut alive = Command::new("kill");
        alive.args(["-0", program]);
        assert!(!output(alive, "").await.status.success(), "{program} goes on");
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), read(&log));
}

#[tokio::test]
async fn the_emulator_of_the_tutorial_meets_the_restricted_standard() {
    let world = World::new().await;
    let label = ["label", "namespace", &world.namespace, "pod-security.kubernetes.io/warn=restricted"];
    assert!(world.kubectl(&label).await.status.success());
    let file = root().join("examples/with/emulator/emulator.yaml");
    let dry = ["create", "--dry-run=server", "--validate=strict", "-f", file.to_str().unwrap()];
    let said = world.kubectl(&dry).await;
    assert!(said.status.success() && said.stderr.is_empty(), "{}", text(&said.stderr));
}

/// The processes that another one started.
fn pgrep(parent: &str) -> Command {
    let mut pgrep = Command::new("pgrep");
    pgrep.args(["-P", parent]);
    pgrep
}
