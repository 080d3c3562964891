//! Where the token pair for Modal comes from, as `flavor doctor` tells it. Its
//! values are never told.

use crate::harness::{Flavor, Home, Outcome, assert_told};

const ONE_PROFILE: &str = r#"
[only]
token_id = "ak-of-only"
token_secret = "as-hidden-of-only"
"#;

const TWO_PROFILES: &str = r#"
[work]
token_id = "ak-of-work"
token_secret = "as-hidden-of-work"
active = true

[home]
token_id = "ak-of-home"
token_secret = "as-hidden-of-home"
"#;

/// The line about credentials.
fn line(doctor: Flavor<'_>) -> String {
    let outcome: Outcome = doctor.run().expect(0);
    assert!(!outcome.to_string().contains("-of-"), "{outcome}");
    let text = outcome.to_string();
    let line = text
        .lines()
        .find(|line| line.starts_with("modal credentials"));
    line.unwrap().to_owned()
}

#[test]
fn sources_come_in_their_order() {
    let home = Home::new();
    let modal_toml = |text: &str| {
        std::fs::write(home.root().join("home/.modal.toml"), text).unwrap();
    };
    let doctor = || home.flavor(["doctor"]);
    let mut told = vec![line(doctor())];
    modal_toml(ONE_PROFILE);
    told.push(line(doctor()));
    modal_toml(TWO_PROFILES);
    told.push(line(doctor()));
    told.push(line(doctor().env("MODAL_PROFILE", "home")));
    home.write("other.toml", ONE_PROFILE);
    told.push(line(doctor().env("MODAL_CONFIG_PATH", "other.toml")));
    told.push(line(doctor().with_token().env("MODAL_PROFILE", "home")));
    assert_told!(told.join("\n"));
}

#[test]
fn what_makes_no_sense_is_told() {
    let home = Home::new();
    let modal_toml = |text: &str| {
        std::fs::write(home.root().join("home/.modal.toml"), text).unwrap();
    };
    let doctor = || home.flavor(["doctor"]);
    let mut told = Vec::new();
    for text in [
        "",
        "[a",
        "[a]\ntoken_id = 'ak-of-a'\n",
        "[a]\ntoken_id = 7\n",
        "token_secret = 'as-hidden-of-nobody'\n",
        "[a]\ntoken_secret = as-hidden-of-nobody\n",
        "[a]\n[b]\n",
    ] {
        modal_toml(text);
        told.push(line(doctor()));
    }
    modal_toml(TWO_PROFILES);
    told.push(line(doctor().env("MODAL_PROFILE", "hmoe")));
    // Half a pair is never filled up from elsewhere.
    told.push(line(doctor().env("MODAL_TOKEN_ID", "ak-of-environment")));
    told.push(line(
        doctor().env("MODAL_TOKEN_SECRET", "as-hidden-of-environment"),
    ));
    told.push(line(
        doctor().with_token().env("MODAL_TOKEN_SECRET", "as-of-\n"),
    ));
    assert_told!(told.join("\n"));
}
