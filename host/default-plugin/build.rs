//! Builds the plugin into a component, or takes the one that
//! `FLAVOR_PLUGIN_WASM` names, and writes its digest beside it.

use component_build::{BuildError, Component};
use sha2::{Digest, Sha256};
use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=FLAVOR_PLUGIN_WASM");
    match component() {
        Ok(path) => embed(&path),
        Err(error) => {
            error.report();
            Ok(())
        }
    }
}

fn component() -> Result<PathBuf, BuildError> {
    if let Some(path) = env::var_os("FLAVOR_PLUGIN_WASM") {
        let path = PathBuf::from(path);
        println!("cargo:rerun-if-changed={}", path.display());
        return Ok(path);
    }
    Component {
        package: "modal-flavor",
        features: &[],
        sources: &["plugin", "wit"],
    }
    .build()
}

fn embed(component: &Path) -> Result<(), Box<dyn Error>> {
    let bytes = fs::read(component)
        .map_err(|error| format!("{} cannot be read: {error}", component.display()))?;
    let mut digest = String::new();
    for byte in Sha256::digest(&bytes) {
        write!(digest, "{byte:02x}")?;
    }
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out_dir.join("plugin.wasm"), bytes)?;
    println!("cargo:rustc-env=DEFAULT_PLUGIN_DIGEST={digest}");
    Ok(())
}
