//! What a command gets, and that nothing of it stays.

use std::{
    collections::BTreeMap,
    fs, io,
    sync::{Arc, Mutex},
};

use modal_proto::client::GenericStatus;

use crate::harness::{Fifo, Local, items, variables};

#[tokio::test]
async fn arguments_arrive_byte_for_byte() {
    let local = Local::start().await;
    let odd = [
        "",
        " ",
        "two words",
        "line\nbreak\r\n",
        "\t",
        "tab\\t",
        "'single'",
        "\"double\"",
        "$HOME",
        "`id`",
        "*",
        "--",
        "-n",
        "ünï ¢ode 🦀",
        "\u{feff}",
        "\u{7f}",
        "\\",
        "%s",
        "",
        "{}",
        ";",
        "#",
    ];
    let mut command = vec!["sh", "-c", r#"printf '%s\0' "$0" "$@""#];
    command.extend(odd);
    let new = local.sandbox([]).define(|sandbox| {
        sandbox.entrypoint_args = command.iter().map(|text| (*text).to_owned()).collect();
    });
    for sandbox in [new.clone().create().await, new.create_v1().await] {
        sandbox.ends_with(GenericStatus::Success, 0).await;
        assert_eq!(items(&sandbox.stdout(&local).await), odd);
    }
    local.finish().await;
}

#[tokio::test]
async fn the_environment_is_the_requests_and_little_else() {
    let local = Local::start().await;
    let asked = [
        ("PLAIN", "value"),
        ("EMPTY", ""),
        ("LINES", "a\nb\n"),
        ("UNICODE", "ünï 🦀"),
        ("EQUALS", "a=b=c"),
        ("lower_case", " spaces "),
        ("dotted.name", "x"),
    ];
    let new = local.sandbox(["env", "-0"]).env(asked);
    for sandbox in [new.clone().create().await, new.create_v1().await] {
        sandbox.ends_with(GenericStatus::Success, 0).await;
        let mut found = variables(&sandbox.stdout(&local).await);
        let files = local.files(&sandbox).to_str().unwrap().to_owned();
        assert_eq!(found.remove("HOME"), Some(files.clone()));
        assert_eq!(found.remove("TMPDIR"), Some(format!("{files}/.tmp")));
        assert_eq!(found.remove("PATH"), std::env::var("PATH").ok());
        let lang = std::env::var("LANG").unwrap_or_else(|_| "C.UTF-8".into());
        assert_eq!(found.remove("LANG"), Some(lang));
        let marker = found.remove("MODAL_LOCAL_SANDBOX").unwrap();
        assert!(marker.ends_with(&sandbox.id), "{marker}");
        let asked = asked.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(found, BTreeMap::from(asked));
    }
    // The request's variables win, but for the marker.
    let sandbox = local
        .sandbox(["env", "-0"])
        .env([("HOME", "/elsewhere"), ("MODAL_LOCAL_SANDBOX", "hidden")])
        .create()
        .await;
    let found = variables(&sandbox.stdout(&local).await);
    assert_eq!(found["HOME"], "/elsewhere");
    assert!(found["MODAL_LOCAL_SANDBOX"].ends_with(&sandbox.id));
    local.finish().await;
}

#[tokio::test]
async fn later_variables_are_laid_over_earlier_ones() {
    let local = Local::start().await;
    let new = local
        .sandbox(["env", "-0"])
        .env([("A", "secret"), ("B", "secret")])
        .env([("B", "env")]);
    for sandbox in [new.clone().create().await, new.create_v1().await] {
        let found = variables(&sandbox.stdout(&local).await);
        assert_eq!(
            (found["A"].as_str(), found["B"].as_str()),
            ("secret", "env")
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn a_sandbox_has_a_directory_of_its_own() {
    let local = Local::start().await;
    let script = "pwd; ls -A; echo > made; mktemp > /dev/null; ls .tmp | wc -l";
    let sandbox = local.script(script).create().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let files = local.files(&sandbox);
    let printed = String::from_utf8(sandbox.stdout(&local).await).unwrap();
    assert_eq!(printed, format!("{}\n.tmp\n1\n", files.display()));
    assert!(files.join("made").exists());
    let elsewhere = local.script("pwd").define(|s| s.workdir = Some("/".into()));
    assert_eq!(elsewhere.create().await.stdout(&local).await, b"/\n");
    local.finish().await;
}

#[tokio::test]
async fn a_command_leads_a_group_of_its_own() {
    let local = Local::start().await;
    let script = "cut -d ' ' -f 5 /proc/self/stat; echo $$";
    let sandbox = local.script(script).create().await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    let printed = String::from_utf8(sandbox.stdout(&local).await).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], lines[1]);
    local.finish().await;
}

#[tokio::test]
async fn a_command_inherits_no_descriptor() {
    let local = Local::start().await;
    // The listing itself is the fourth.
    let sandbox = local.sandbox(["ls", "/proc/self/fd"]).create().await;
    assert_eq!(sandbox.stdout(&local).await, b"0\n1\n2\n3\n");
    local.finish().await;
}

#[tokio::test]
async fn signals_do_to_a_command_what_they_do() {
    let local = Local::start().await;
    let script = "grep ^SigBlk: /proc/self/status; kill -PIPE $$; echo alive";
    let sandbox = local.sandbox(["bash", "-c", script]).create().await;
    sandbox.ends_with(GenericStatus::Failure, 128 + 13).await;
    let printed = sandbox.stdout(&local).await;
    assert_eq!(printed, b"SigBlk:\t0000000000000000\n");
    local.finish().await;
}

#[tokio::test]
async fn programs_are_found_as_a_shell_finds_them() {
    let local = Local::start().await;
    // A file without a format of its own is a script; one that may not be
    // executed hides none behind it; what is not absolute begins at the
    // working directory.
    let script = "mkdir one two && echo 'echo hidden' > one/tool && printf 'echo \"$0 $*\"' > two/tool \
                  && chmod +x two/tool && PATH=one:two:$PATH exec env tool";
    let sandbox = local.script(script).create().await;
    assert_eq!(sandbox.stdout(&local).await, b"two/tool \n");
    let files = local.files(&sandbox);
    let path = format!("{0}/one:{0}/two", files.display());
    let new = local.sandbox(["tool", "a b", ""]).env([("PATH", &path)]);
    let found = new.create().await;
    found.ends_with(GenericStatus::Success, 0).await;
    let expected = format!("{}/two/tool a b \n", files.display());
    assert_eq!(found.stdout(&local).await, expected.as_bytes());
    let hidden = format!("{}/one", files.display());
    let refused = local
        .sandbox(["tool"])
        .env([("PATH", &hidden)])
        .create()
        .await;
    refused.ends_with(GenericStatus::InitFailure, 126).await;
    local.finish().await;
}

#[tokio::test]
async fn the_host_can_put_files_into_a_sandbox() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen_by_host = Arc::clone(&seen);
    let local = Local::with(move |options| {
        options.prepare = Some(Arc::new(move |sandbox| {
            seen_by_host.lock().unwrap().push((
                sandbox.sandbox_id.to_owned(),
                sandbox.tags.clone(),
                sandbox.env.clone(),
            ));
            match sandbox.tags.get("files").map(String::as_str) {
                Some("refused") => Err(io::Error::other("the disk says no")),
                _ => fs::write(sandbox.directory.join("input.csv"), "1,2\n"),
            }
        }));
    })
    .await;
    let sandbox = local
        .sandbox(["cat", "input.csv"])
        .tag("step", "train")
        .env([("A", "1")])
        .create()
        .await;
    sandbox.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(sandbox.stdout(&local).await, b"1,2\n");
    let pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let expected = (sandbox.id.clone(), pair("step", "train"), pair("A", "1"));
    assert_eq!(*seen.lock().unwrap(), [expected]);

    let refused = local
        .sandbox(["true"])
        .tag("files", "refused")
        .create()
        .await;
    let result = refused.wait().await;
    assert_eq!(result.status(), GenericStatus::InitFailure);
    assert_ne!(result.exitcode, 0);
    assert!(result.exception.contains("the disk says no"), "{result:?}");
    assert!(!local.files(&refused).exists());
    local.finish().await;
}

/// Scripts that leave a process behind, which writes its pid to a pipe.
fn leavers(fifo: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "in the background",
            format!("sh -c 'echo $$ > {fifo}; exec sleep 100' & "),
        ),
        (
            "deaf to signals",
            format!(
                "sh -c 'trap \"\" TERM HUP INT; echo $$ > {fifo}; while :; do sleep 1; done' &"
            ),
        ),
        (
            "in a session of its own",
            format!("setsid sh -c 'echo $$ > {fifo}; exec sleep 100' & "),
        ),
        (
            "a daemon, forked twice",
            format!("(setsid sh -c '(echo $$ > {fifo}; exec sleep 100) &' &) "),
        ),
        (
            "without its environment, in the group",
            format!("env -i PATH=\"$PATH\" sh -c 'echo $$ > {fifo}; exec sleep 100' &"),
        ),
    ]
}

#[tokio::test]
async fn what_a_command_leaves_behind_is_killed() {
    let local = Local::start().await;
    let fifo = Fifo::new();
    for (what, script) in leavers(fifo.path()) {
        // The command ends by itself once the other one runs.
        let go = Fifo::new();
        let sandbox = local
            .script(&format!("{script}\nread x < {}", go.path()))
            .create()
            .await;
        let pid = fifo.read().await;
        go.write();
        sandbox.ends_with(GenericStatus::Success, 0).await;
        assert!(!crate::harness::is_running(&pid), "left: {what}");
    }
    for (what, script) in leavers(fifo.path()) {
        let sandbox = local.script(&format!("{script}\nsleep 100")).create().await;
        let pid = fifo.read().await;
        sandbox.terminate().await;
        sandbox.ends_with(GenericStatus::Terminated, 137).await;
        assert!(
            !crate::harness::is_running(&pid),
            "left after termination: {what}"
        );
    }
    local.finish().await;
}

#[tokio::test]
async fn a_command_that_ends_while_it_forks_leaves_nothing() {
    let local = Local::start().await;
    // Ends at once, with children in the middle of their start.
    let script = "for i in 1 2 3 4 5; do setsid sleep 100 & done";
    for _ in 0..30 {
        let sandbox = local.script(script).create().await;
        sandbox.ends_with(GenericStatus::Success, 0).await;
        let mine = format!("{}{}", local.marker(), sandbox.id);
        assert_eq!(crate::harness::marked(&mine), Vec::<i32>::new());
    }
    local.finish().await;
}

#[tokio::test]
async fn output_ends_although_a_hidden_process_holds_the_pipe() {
    let local = Local::start().await;
    let (fifo, go) = (Fifo::new(), Fifo::new());
    // Out of the group and without the marker: nothing leads to it.
    let script = format!(
        "env -i PATH=\"$PATH\" setsid sh -c 'echo $$ > {}; exec sleep 100' & \
         echo done; read x < {}",
        fifo.path(),
        go.path()
    );
    let sandbox = local.script(&script).create().await;
    let pid = fifo.read().await;
    go.write();
    sandbox.ends_with(GenericStatus::Success, 0).await;
    assert_eq!(sandbox.stdout(&local).await, b"done\n");
    // It is ours to clear away.
    let group = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    local.finish().await;
}
