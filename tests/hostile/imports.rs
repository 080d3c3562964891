//! What the plugin of this workspace imports.

use wasmtime::component::Component;
use wasmtime::{Config, Engine};

#[test]
fn the_default_plugin_imports_what_is_documented_and_nothing_else() {
    let mut config = Config::new();
    config.wasm_component_model_async(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, default_plugin::COMPONENT).unwrap();
    let world = component.component_type();
    let mut imports: Vec<&str> = world.imports(&engine).map(|(name, _)| name).collect();
    imports.sort_unstable();

    // By interface: the contract's own, WASI 0.3, and what Rust's standard
    // library links of WASI 0.2.
    let documented = [
        "zenml:flavor/credentials@0.1.0",
        "zenml:flavor/log@0.1.0",
        "zenml:flavor/run-store@0.1.0",
        "zenml:flavor/types@0.1.0",
        "wasi:http/client@0.3",
        "wasi:http/types@0.3",
        "wasi:clocks/monotonic-clock@0.3",
        "wasi:clocks/system-clock@0.3",
        "wasi:clocks/types@0.3",
        "wasi:random/random@0.3",
        "wasi:cli/environment@0.2",
        "wasi:cli/exit@0.2",
        "wasi:cli/stderr@0.2",
        "wasi:cli/stdin@0.2",
        "wasi:cli/stdout@0.2",
        "wasi:cli/terminal-",
        "wasi:clocks/monotonic-clock@0.2",
        "wasi:clocks/wall-clock@0.2",
        "wasi:io/error@0.2",
        "wasi:io/poll@0.2",
        "wasi:io/streams@0.2",
        "wasi:random/insecure-seed@0.2",
    ];
    for import in &imports {
        assert!(
            documented.iter().any(|known| import.starts_with(known)),
            "{import} is not documented"
        );
    }
    insta::assert_snapshot!(imports.join("\n"));
}
