//! Builds the plugin with the world for recorded cases.

use component_build::Component;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let built = Component {
        package: "modal-flavor",
        features: &["conformance"],
        sources: &["plugin", "wit"],
    }
    .build();
    match built {
        Ok(path) => {
            let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
            fs::copy(&path, out_dir.join("plugin.wasm"))
                .map_err(|error| format!("{} cannot be copied: {error}", path.display()))?;
        }
        Err(error) => error.report(),
    }
    Ok(())
}
