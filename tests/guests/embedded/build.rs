//! Builds the hostile guest into a component.

use component_build::Component;
use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    let built = Component {
        package: "hostile-guest",
        features: &[],
        sources: &["tests/guests/hostile", "wit"],
    }
    .build();
    match built {
        Ok(component) => {
            let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
            fs::copy(component, out_dir.join("hostile.wasm"))?;
        }
        Err(error) => error.report(),
    }
    Ok(())
}
