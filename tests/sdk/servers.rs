//! The local Modals that the checks talk to.

use modal_local::{Credentials, Limits, Options, Server, State};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// The account of all servers.
pub(crate) const TOKEN_ID: &str = "ak-suite";
pub(crate) const TOKEN_SECRET: &str = "as-suite";

/// Lifetime of the tokens of the server whose tokens are renewed: long enough
/// for a call on a busy machine, short enough to wait for.
const SHORT_LIFETIME: Duration = Duration::from_secs(8);

/// Servers, started when first needed.
#[derive(Default)]
pub(crate) struct Servers {
    flavor: OnceLock<Flavor>,
    inside: OnceLock<Inside>,
}

impl Servers {
    /// What a suite's program gets to know of the servers.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let inside = self.inside.get_or_init(Inside::start);
        let mut variables = vec![
            ("MODAL_SERVER_URL", self.flavor().url.clone()),
            ("MODAL_TOKEN_ID", TOKEN_ID.to_owned()),
            ("MODAL_TOKEN_SECRET", TOKEN_SECRET.to_owned()),
            ("SUITE_FLAVOR", env!("CARGO_BIN_EXE_flavor").to_owned()),
        ];
        variables.extend(inside.urls.iter().cloned());
        variables
    }

    fn flavor(&self) -> &Flavor {
        self.flavor.get_or_init(|| Flavor::start([""; 0]))
    }

    /// Ends the servers; says which calls `flavor modal-local` did not know.
    pub(crate) fn finish(&self) -> Vec<String> {
        if let Some(inside) = self.inside.get() {
            inside.stop();
        }
        let complaints = self.flavor.get().map(Flavor::stop).unwrap_or_default();
        let unknown = complaints
            .lines()
            .filter(|line| line.contains("not implemented"));
        unknown.map(str::to_owned).collect()
    }
}

/// `flavor modal-local`, as a user starts it.
pub(crate) struct Flavor {
    child: Mutex<Child>,
    pid: Pid,
    url: String,
    /// Reads what it complains of, so that it never waits to be heard.
    listener: Mutex<Option<JoinHandle<String>>>,
    /// Nothing of the user's home is read or written.
    _home: TempDir,
}

impl Flavor {
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_flavor"))
            .arg("modal-local")
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("MODAL_TOKEN_ID", TOKEN_ID)
            .env("MODAL_TOKEN_SECRET", TOKEN_SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("flavor starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).expect("flavor speaks");
        let url = line.trim().strip_prefix("listening on ");
        let url = url
            .unwrap_or_else(|| panic!("not the line that was promised: {line:?}"))
            .to_owned();
        let mut stderr = child.stderr.take().unwrap();
        let listener = thread::spawn(move || {
            let mut complaints = String::new();
            let read = stderr.read_to_string(&mut complaints);
            read.expect("flavor speaks");
            complaints
        });
        Self {
            pid: Pid::from_child(&child),
            listener: Mutex::new(Some(listener)),
            child: Mutex::new(child),
            url,
            _home: home,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Where the kernel tells of its process.
    pub(crate) fn proc(&self) -> PathBuf {
        format!("/proc/{}", self.pid()).into()
    }

    /// Interrupts it, waits for its end, and gives what it complained of.
    pub(crate) fn stop(&self) -> String {
        kill_process(self.pid, Signal::INT).expect("flavor runs");
        let mut child = self.child.lock().unwrap();
        let status = child.wait().expect("flavor ends");
        assert!(status.success(), "flavor modal-local: {status}");
        let listener = self.listener.lock().unwrap().take();
        listener.map_or_else(String::new, |listener| listener.join().unwrap())
    }
}

impl Drop for Flavor {
    /// Whatever happens to the tests, nothing is left of it.
    fn drop(&mut self) {
        let Ok(mut child) = self.child.lock() else {
            return;
        };
        if matches!(child.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, Signal::INT);
            let _ = child.wait();
        }
    }
}

/// Servers with settings that no flag has, on a thread of their own.
struct Inside {
    urls: Vec<(&'static str, String)>,
    /// What ends them, and the thread.
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Inside {
    fn start() -> Self {
        let (tell, urls) = mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut servers = Vec::new();
                for (variable, options) in inside() {
                    let server = Server::start(options).await.expect("the server starts");
                    servers.push((variable, server));
                }
                let urls = servers
                    .iter()
                    .map(|(variable, server)| (*variable, server.url()));
                tell.send(urls.collect()).expect("somebody asked");
                // Fails when it is time.
                let _ = ended.await;
                for (_, server) in servers {
                    server.shutdown().await;
                }
            });
        });
        Self {
            urls: urls.recv().expect("the servers start"),
            running: Mutex::new(Some((end, thread))),
        }
    }

    /// Shuts them down.
    fn stop(&self) {
        if let Some((end, thread)) = self.running.lock().unwrap().take() {
            drop(end);
            thread.join().expect("the servers end");
        }
    }
}

/// The variables that name these servers, and their settings.
fn inside() -> [(&'static str, Options); 5] {
    let limited = |limits| Options {
        limits,
        ..options()
    };
    let running = |running_sandboxes| Limits {
        running_sandboxes,
        ..Limits::default()
    };
    let pages = Limits {
        list_page: 2,
        ..Limits::default()
    };
    let little_disk = Limits {
        disk: 8 * 1024 * 1024,
        ..Limits::default()
    };
    let short_tokens = Options {
        auth_token_lifetime: SHORT_LIFETIME,
        router_token_lifetime: SHORT_LIFETIME,
        ..options()
    };
    [
        ("SUITE_SHORT_TOKENS_URL", short_tokens),
        ("SUITE_SMALL_URL", limited(running(2))),
        ("SUITE_FULL_URL", limited(running(0))),
        ("SUITE_PAGES_URL", limited(pages)),
        ("SUITE_LITTLE_DISK_URL", limited(little_disk)),
    ]
}

fn options() -> Options {
    Options {
        credentials: Some(Credentials {
            token_id: TOKEN_ID.to_owned(),
            token_secret: TOKEN_SECRET.to_owned(),
        }),
        state: State::Temporary,
        ..Options::default()
    }
}
