//! `flavor doctor`

use crate::exit::{Exit, Failure};
use crate::render::counted;
use crate::{paths, plugin, terminal};
use flavor_host::credentials::modal::Surroundings;

pub(crate) async fn doctor() -> Result<Exit, Failure> {
    let plugin = plugin::load().await?;
    let flavors: Vec<&str> = plugin
        .flavors()
        .await?
        .iter()
        .map(super::flavors::kind)
        .collect();
    let credentials = match Surroundings::of_process().token_pair() {
        Ok((_, source)) => source.to_string(),
        Err(error) => error.to_string(),
    };
    let state = paths::state()?;
    let usable = match paths::open_state(false) {
        Ok(state) => counted(state.store().runs().await?.len(), "run"),
        Err(failure) => failure.message(),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("flavor", env!("CARGO_PKG_VERSION").to_owned()),
        row(
            "plugin",
            format!("modal-flavor, built in, sha256:{}", plugin.digest()),
        ),
        row(
            "world",
            format!("{} ({})", flavor_host::contract::WORLD, flavors.join(", ")),
        ),
        row(
            "default target",
            "local (processes of this machine, nothing isolated)".to_owned(),
        ),
        row("modal", flavor_host::MODAL_URL.to_owned()),
        row("modal credentials", credentials),
        row("state", format!("{} ({usable})", state.display())),
        row("cache", paths::cache()?.display().to_string()),
    ];
    for line in terminal::table(&rows) {
        terminal::say(&terminal::escape(&line));
    }
    Ok(Exit::Done)
}
