//! Compiles the .proto files with protox: no protoc binary is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(["client.proto", "task_command_router.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_server(std::env::var_os("CARGO_FEATURE_SERVER").is_some())
        .build_transport(false)
        // Ordered maps: the same message always has the same bytes, which
        // idempotency keys and recorded traces rely on.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
