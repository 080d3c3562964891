//! Builds a crate of this workspace into a WebAssembly component, from within
//! the build script of another one.
//!
//! Cargo cannot depend on an artefact for another target, so the build script
//! calls cargo a second time. That call must not meet the outer one: it has a
//! target directory of its own (the outer one is locked) and an environment
//! cleared of what the outer cargo, clippy or a coverage tool left in it.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target that components are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// The profile they are built with, whatever the outer build's is.
const PROFILE: &str = "component";

/// A component to build.
#[derive(Debug, Clone, Copy)]
pub struct Component<'a> {
    /// Package name in the workspace. It must have one `cdylib` target of the
    /// same name, with `-` written as `_`.
    pub package: &'a str,
    /// Features to switch on.
    pub features: &'a [&'a str],
    /// What the component is made of besides `Cargo.toml`, `Cargo.lock` and the
    /// toolchain file: paths from the workspace root. A change below them
    /// builds it again.
    pub sources: &'a [&'a str],
}

impl Component<'_> {
    /// Builds the component and returns the path of the `.wasm` file.
    ///
    /// To be called from a build script only: it prints `cargo:` lines.
    ///
    /// # Errors
    ///
    /// When the target is missing and cannot be installed, or the build fails.
    pub fn build(&self) -> Result<PathBuf, BuildError> {
        let workspace = workspace_root()?;
        for source in self.sources.iter().copied().chain(BUILD_INPUTS) {
            let source = workspace.join(source);
            tell_cargo(format_args!("rerun-if-changed={}", source.display()));
        }
        ensure_target(&workspace)?;
        let target_dir = outer_target_dir()?.join(self.target_dir_name());
        self.run_cargo(&workspace, &target_dir)?;
        Ok(target_dir
            .join(TARGET)
            .join(PROFILE)
            .join(self.package.replace('-', "_"))
            .with_extension("wasm"))
    }

    /// One directory for each set of features, so that two builds of one
    /// package do not undo each other.
    fn target_dir_name(&self) -> String {
        let mut name = String::from("component");
        for feature in self.features {
            name.push('-');
            name.push_str(feature);
        }
        name
    }

    fn run_cargo(&self, workspace: &Path, target_dir: &Path) -> Result<(), BuildError> {
        let mut cargo = Command::new(required_var("CARGO")?);
        cargo
            .current_dir(workspace)
            .args([
                "build",
                "--locked",
                "--profile",
                PROFILE,
                "--target",
                TARGET,
            ])
            .args(["--package", self.package])
            .arg("--target-dir")
            .arg(target_dir);
        if !self.features.is_empty() {
            cargo.arg("--features").arg(self.features.join(","));
        }
        if is_offline() {
            cargo.arg("--offline");
        }
        for name in leaked_variables() {
            cargo.env_remove(name);
        }
        let output = cargo
            .output()
            .map_err(|error| BuildError::Start { error })?;
        if output.status.success() {
            return Ok(());
        }
        Err(BuildError::Failed {
            package: self.package.to_owned(),
            output: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Why a component could not be built. The texts end up in the output of a
/// failed `cargo build`, so they say what to do.
#[derive(Debug)]
pub enum BuildError {
    /// A variable that cargo sets for build scripts is missing.
    NotABuildScript(&'static str),
    /// No workspace above the crate being built.
    NoWorkspace(PathBuf),
    /// The wasm target is not installed and could not be.
    NoTarget {
        /// Why the installation was not tried or failed.
        why: String,
    },
    /// Cargo could not be started.
    Start {
        /// The system's reason.
        error: io::Error,
    },
    /// Cargo ran and failed.
    Failed {
        /// What was to be built.
        package: String,
        /// What cargo wrote.
        output: String,
    },
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotABuildScript(name) => {
                write!(f, "{name} is not set; this runs in build scripts only")
            }
            Self::NoWorkspace(start) => write!(f, "no workspace above {}", start.display()),
            Self::NoTarget { why } => write!(
                f,
                "the plugin is a WebAssembly component, and the target {TARGET} is not installed ({why}).\n\
                 Install it with this command, then build again:\n\n    {}\n",
                install_command(),
            ),
            Self::Start { error } => write!(f, "cargo could not be started: {error}"),
            Self::Failed { package, output } => {
                write!(f, "building {package} for {TARGET} failed:\n{output}")
            }
        }
    }
}

impl std::error::Error for BuildError {}

impl BuildError {
    /// Tells cargo about the error, line by line, for a build script that then
    /// ends with a failure. Returned from `main` instead, it would be shown with
    /// escaped line breaks.
    pub fn report(&self) {
        for line in self.to_string().lines() {
            tell_cargo(format_args!("error={line}"));
        }
    }
}

/// What every component depends on, from the workspace root.
const BUILD_INPUTS: [&str; 3] = ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];

fn workspace_root() -> Result<PathBuf, BuildError> {
    let start = PathBuf::from(required_var("CARGO_MANIFEST_DIR")?);
    let root = start
        .ancestors()
        .find(|directory| directory.join("Cargo.lock").is_file())
        .map(Path::to_path_buf);
    root.ok_or(BuildError::NoWorkspace(start))
}

/// The target directory of the outer cargo. Cargo marks its root with a
/// `CACHEDIR.TAG`; how deep OUT_DIR lies below it depends on `--target` and on
/// cargo's version.
fn outer_target_dir() -> Result<PathBuf, BuildError> {
    let out_dir = PathBuf::from(required_var("OUT_DIR")?);
    let root = out_dir
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file())
        .map(Path::to_path_buf);
    Ok(root.unwrap_or(out_dir))
}

/// Installs the wasm target unless it is there.
fn ensure_target(workspace: &Path) -> Result<(), BuildError> {
    tell_cargo(format_args!("rerun-if-env-changed=CARGO_NET_OFFLINE"));
    if target_is_installed() {
        return Ok(());
    }
    if is_offline() {
        return Err(BuildError::NoTarget {
            why: "cargo is offline, so it was not fetched".to_owned(),
        });
    }
    let installed = Command::new("rustup")
        .current_dir(workspace)
        .args(["target", "add", TARGET])
        .output();
    match installed {
        Ok(output) if output.status.success() && target_is_installed() => Ok(()),
        Ok(output) => Err(BuildError::NoTarget {
            why: format!("rustup: {}", String::from_utf8_lossy(&output.stderr).trim()),
        }),
        Err(error) => Err(BuildError::NoTarget {
            why: format!("rustup could not be started: {error}"),
        }),
    }
}

fn target_is_installed() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let Ok(output) = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
    else {
        return false;
    };
    let libdir = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    fs::read_dir(libdir).is_ok_and(|mut entries| entries.next().is_some())
}

/// The one command that installs the target for the toolchain in use.
fn install_command() -> String {
    match env::var("RUSTUP_TOOLCHAIN") {
        Ok(toolchain) => format!("rustup target add {TARGET} --toolchain {toolchain}"),
        Err(_) => format!("rustup target add {TARGET}"),
    }
}

/// Whether the outer cargo is to stay off the network. Cargo tells build scripts
/// about the variable; about the flag it does not, so its command line is read.
fn is_offline() -> bool {
    env::var_os("CARGO_NET_OFFLINE").is_some_and(|value| value == "true" || value == "1")
        || outer_command_line().any(|argument| argument == b"--offline")
}

/// The arguments of the outer cargo, which is the parent of a build script. What
/// follows `--` is for somebody else. Empty where the system does not tell.
fn outer_command_line() -> impl Iterator<Item = Vec<u8>> {
    let file = format!("/proc/{}/cmdline", std::os::unix::process::parent_id());
    let arguments = fs::read(file).unwrap_or_default();
    let arguments: Vec<Vec<u8>> = arguments
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec)
        .collect();
    arguments
        .into_iter()
        .take_while(|argument| argument != b"--")
}

/// Variables of the outer build that would change the inner one: flags for the
/// host's code generation, wrappers (clippy's is a `RUSTC_WORKSPACE_WRAPPER`),
/// profile overrides and all that cargo says about the outer package.
/// `CARGO_MAKEFLAGS` (the job server), `CARGO_HOME`, network settings and
/// `RUSTUP_TOOLCHAIN` stay.
fn leaked_variables() -> Vec<OsString> {
    const LEAKED: [&str; 12] = [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_INCREMENTAL",
        "CARGO_TARGET_DIR",
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "RUSTC",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_WRAPPER",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
    ];
    const LEAKED_PREFIXES: [&str; 6] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| {
            let name = name.to_string_lossy();
            LEAKED.contains(&name.as_ref())
                || LEAKED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

#[allow(clippy::print_stdout, reason = "the way build scripts talk to cargo")]
fn tell_cargo(instruction: fmt::Arguments<'_>) {
    println!("cargo::{instruction}");
}

fn required_var(name: &'static str) -> Result<OsString, BuildError> {
    env::var_os(name).ok_or(BuildError::NotABuildScript(name))
}
