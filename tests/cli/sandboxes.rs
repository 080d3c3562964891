//! `flavor sandbox`: sandboxes that outlive the commands that look after them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use crate::harness::{Flavor, Home, Outcome, Server, all, assert_told, names};

/// `flavor sandbox` on a server.
pub(crate) struct Sandboxes<'h> {
    home: &'h Home,
    server: Server,
}

impl<'h> Sandboxes<'h> {
    pub(crate) fn new(home: &'h Home) -> Self {
        let server = Server::start(home);
        Self { home, server }
    }

    pub(crate) fn sandbox(&self, words: &[&str]) -> Flavor<'h> {
        let (verb, rest) = words.split_first().unwrap();
        let words = [&["sandbox", verb, "--on", self.server.url()], rest].concat();
        self.home.flavor(words).with_token()
    }

    /// Creates one, and gives its id.
    pub(crate) fn create(&self, words: &[&str]) -> String {
        let created = self.sandbox(&[&["create"], words].concat()).run().expect(0);
        created.stdout().trim_end().to_owned()
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Ends the server, and with it all sandboxes.
    pub(crate) fn stop(self) {
        self.server.stop().expect(0);
    }
}

#[test]
fn a_sandbox_lives_until_it_is_destroyed() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let words = ["create", "--name", "work", "--tag", "team=a", "--json"];
    let created = sandboxes.sandbox(&words).run().expect(0);
    let id = created.objects()[0]["sandbox"].as_str().unwrap().to_owned();
    let other = sandboxes.create(&["--tag", "team=b"]);
    let run = |words: &[&str]| sandboxes.sandbox(words).run();
    let told = [
        run(&["attach", "work"]).expect(0),
        run(&["attach", &id, "--json"]).expect(0),
        run(&["list", "--tag", "team=a"]).expect(0),
        run(&["destroy", &id]).expect(0),
        run(&["list", "--tag", "team=a"]).expect(0),
        run(&["list", "--tag", "team=a", "--all", "--json"]).expect(0),
        run(&["attach", &id]),
        run(&["exec", &id, "true"]).expect(125),
        // Again, which is no failure.
        run(&["destroy", &id]).expect(0),
    ];
    assert_eq!(run(&["list"]).expect(0).stdout().lines().count(), 1);
    run(&["destroy", &other, "no-such-name"]).expect(2);
    assert_eq!(run(&["list"]).expect(0).stdout(), "");
    sandboxes.stop();
    assert_told!(all(&[&[created][..], &told].concat()));
}

#[test]
fn a_name_is_taken_while_its_sandbox_runs() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let first = sandboxes.create(&["--name", "work"]);
    let taken = sandboxes
        .sandbox(&["create", "--name", "work"])
        .run()
        .expect(4);
    let elsewhere = sandboxes.create(&["--name", "work", "--app", "other"]);
    assert_ne!(first, elsewhere);
    sandboxes.sandbox(&["destroy", "work"]).run().expect(0);
    let again = sandboxes.create(&["--name", "work"]);
    let attached = sandboxes.sandbox(&["attach", "work"]).run().expect(0);
    assert!(attached.stdout().contains(&again), "{attached}");
    sandboxes.stop();
    assert_told!(taken);
}

#[test]
fn a_snapshot_holds_the_files_of_a_sandbox() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let script = "echo kept >file; chmod 640 file; ln -s file link";
    sandboxes
        .sandbox(&["exec", &id, "sh", "-c", script])
        .run()
        .expect(0);
    let taken = sandboxes.sandbox(&["snapshot", &id]).run().expect(0);
    let image = taken.stdout().trim_end().to_owned();
    sandboxes
        .sandbox(&["exec", &id, "sh", "-c", "echo other >file"])
        .run()
        .expect(0);
    sandboxes.sandbox(&["destroy", &id]).run().expect(0);
    let restored = sandboxes.sandbox(&["restore", &image]).run().expect(0);
    let restored = restored.stdout().trim_end().to_owned();
    assert_ne!(restored, id);
    let script = "cat link; stat -c %a file; readlink link";
    let read = sandboxes
        .sandbox(&["exec", &restored, "sh", "-c", script])
        .run()
        .expect(0);
    assert_eq!(read.stdout(), "kept\n640\nfile\n");
    let unknown = sandboxes
        .sandbox(&["restore", "im-0000000000000000000000"])
        .run();
    assert!(matches!(unknown.status.code(), Some(2 | 4)), "{unknown}");
    sandboxes.stop();
}

/// Bytes of all kinds.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    let mut state = 7;
    std::iter::from_fn(|| next(&mut state))
        .take(count)
        .collect()
}

#[test]
fn files_are_copied_byte_for_byte_both_ways() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let cp = |from: &str, to: &str| sandboxes.sandbox(&["cp", from, to]);
    let directory = sandboxes.sandbox(&["exec", &id, "pwd"]).run().expect(0);
    let directory = directory.stdout().trim_end().to_owned();
    let there = |path: &str| format!("{id}:{directory}/{path}");
    for (name, count) in [("empty", 0), ("small", 1), ("large", 5_000_001)] {
        home.write(name, bytes(count));
        cp(name, &there("new/parents/")).run().expect(0);
        cp(&there(&format!("new/parents/{name}")), "back")
            .run()
            .expect(0);
        assert!(
            fs::read(home.work().join("back")).unwrap() == bytes(count),
            "{name}"
        );
    }
    // Into a directory, under the same name.
    fs::create_dir(home.work().join("here")).unwrap();
    cp(&there("new/parents/small"), "here").run().expect(0);
    assert_eq!(names(&home.work().join("here")), ["small"]);
    let mode = fs::metadata(home.work().join("here/small"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o600, 0o600);
    // Through pipes.
    cp("-", &there("piped"))
        .with_input(bytes(300_000))
        .run()
        .expect(0);
    assert!(cp(&there("piped"), "-").run().expect(0).stdout == bytes(300_000));
    // What is there is replaced, as a whole, and keeps its mode.
    home.write("old", "old");
    let old = home.work().join("old");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::symlink("old", home.work().join("link")).unwrap();
    cp(&there("piped"), "link").run().expect(0);
    assert!(fs::read(&old).unwrap() == bytes(300_000));
    assert_eq!(
        fs::metadata(&old).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(home.work().join("link").is_symlink());
    sandboxes.stop();
}

#[test]
fn a_copy_that_fails_leaves_nothing_here() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    home.write("directory/file", "x");
    let directory = sandboxes.sandbox(&["exec", &id, "pwd"]).run().expect(0);
    let missing = format!("{id}:{}/no/such/file", directory.stdout().trim_end());
    let outside = format!("{id}:/etc/passwd");
    let told: Vec<Outcome> = [
        [missing.as_str(), "new"],
        [&outside, "new"],
        [&missing, "no/such/directory/file"],
        ["missing", &format!("{id}:/tmp/x")],
        ["directory", &format!("{id}:/tmp/x")],
        ["a", "b"],
        [&missing, &missing],
        ["sb-00000000000000000000000000:/x", "new"],
    ]
    .iter()
    .map(|[from, to]| sandboxes.sandbox(&["cp", from, to]).run())
    .collect();
    for outcome in &told {
        assert!(
            matches!(outcome.status.code(), Some(1 | 2 | 4)),
            "{outcome}"
        );
    }
    assert_eq!(names(&home.work()), ["directory"]);
    sandboxes.stop();
    assert_told!(all(&told));
}

#[test]
fn an_interrupted_copy_leaves_nothing_here() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    let id = sandboxes.create(&[]);
    let directory = sandboxes.sandbox(&["exec", &id, "pwd"]).run().expect(0);
    let path = format!("{id}:{}/large", directory.stdout().trim_end());
    sandboxes
        .sandbox(&["cp", "-", &path])
        .with_input(bytes(50_000_000))
        .run()
        .expect(0);
    // It stops answering in the middle.
    let copying = sandboxes.sandbox(&["cp", &path, "here"]).start();
    crate::harness::wait_until("a part of the file", || {
        let names = names(&home.work());
        names.iter().any(|name| name.starts_with(".flavor-")) || names.contains(&"here".into())
    });
    sandboxes.server().running().signal(Signal::STOP);
    copying.signal(Signal::INT);
    let copied = copying.finish();
    sandboxes.server().running().signal(Signal::CONT);
    match copied.status.code() {
        Some(130) => assert_eq!(names(&home.work()), [""; 0], "{copied}"),
        // It was quicker.
        code => {
            assert_eq!(code, Some(0), "{copied}");
            assert_eq!(names(&home.work()), ["here"]);
        }
    }
    sandboxes.stop();
}

#[test]
fn what_cannot_be_created_says_why() {
    let home = Home::new();
    let sandboxes = Sandboxes::new(&home);
    home.write("settings.yaml", "gpuu: A100\n");
    let told: Vec<Outcome> = [
        &["create", "--timeout", "0"][..],
        &["create", "--memory", "much"],
        &["create", "--gpu", "A100:x"],
        &["create", "--settings", "missing.yaml"],
        &["create", "--name", "not a name"],
    ]
    .iter()
    .map(|words| sandboxes.sandbox(words).run())
    .collect();
    for outcome in &told {
        assert!(matches!(outcome.status.code(), Some(2 | 4)), "{outcome}");
    }
    let local = home.flavor(["sandbox", "create"]).run().expect(2);
    assert_eq!(sandboxes.sandbox(&["list"]).run().expect(0).stdout(), "");
    sandboxes.stop();
    assert_told!(format!("{}\n\n{local}", all(&told)));
}
