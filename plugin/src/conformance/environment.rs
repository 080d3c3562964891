//! Cases about environment variables and credentials.

use super::Input;
use super::encode::{error, fields, object, observed, ok, pairs};
use super::python;
use crate::credentials::{NO_PAIR, Place, TokenPair};
use crate::environment::{self, SENSITIVE, SplitEnvironment};
use crate::kept::Kept;
use crate::modal::image::RegistryLogin;
use serde_json::Value;
use std::cell::Cell;

pub(super) fn run(operation: &str, input: &Input<'_>) -> Option<Value> {
    match operation {
        "split" => {
            let SplitEnvironment { plain, secret } =
                environment::split(variables(input.field("environment")));
            Some(ok(object([
                ("plain", named(&plain)),
                ("secret", named(&secret)),
            ])))
        }
        "sensitive_keys" => {
            let mut keys = SENSITIVE.to_vec();
            keys.sort_unstable();
            Some(ok(keys))
        }
        "runtime_environment" => {
            let components = input.field("components").as_array()?.iter();
            let places = components.chain([input.field("stack"), input.field("step")]);
            Some(ok(named(&environment::merged(places.map(variables)))))
        }
        "runtime_secrets" => {
            let secret = variables(input.field("sensitive"));
            let secrets = SplitEnvironment {
                secret,
                ..SplitEnvironment::default()
            };
            Some(ok(secrets.stored().map(secret_of).collect::<Vec<_>>()))
        }
        "registry_image" => registry_image(input),
        "resolve_token_pair" => {
            let [environment, profile] = surroundings(input.field("ambient"));
            let configured =
                Place::configuration(input.text("token_id"), input.text("token_secret"));
            let pair = TokenPair::resolve([&configured, &environment, &profile]);
            Some(ok(pair.map(|pair| described(&pair))))
        }
        "client_from_credentials" => {
            let pair = TokenPair::configured(input.text("token_id"), input.text("token_secret"));
            Some(match pair {
                Ok(pair) => ok(pair.map(|pair| object([("client", described(&pair))]))),
                Err(half) => error("StackComponentInterfaceError", half),
            })
        }
        "inject_credentials" => Some(inject(input)),
        "client_cache" => Some(client_cache()),
        _ => None,
    }
}

/// Variables from an object, their values as Python's `str` makes them.
fn variables(value: &Value) -> Vec<(String, String)> {
    let text = |(name, value): (String, Value)| (name, python::text(&value));
    fields(value).into_iter().map(text).collect()
}

fn named(variables: &[(String, String)]) -> Value {
    pairs(
        variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

fn described(pair: &TokenPair) -> Value {
    vec![pair.id(), pair.secret()].into()
}

/// What the process' variables say, and what the profile that counts says.
fn surroundings(ambient: &Value) -> [Place; 2] {
    let place = |said: Option<&Value>, id: &str, secret: &str| {
        let text = |name: &str| Some(said?.get(name)?.as_str()?.to_owned());
        Place {
            id: text(id),
            secret: text(secret),
        }
    };
    let profile = ambient
        .get("profile")
        .and_then(Value::as_str)
        .unwrap_or("default");
    let profile = ambient.get("file").and_then(|file| file.get(profile));
    [
        place(ambient.get("env"), "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"),
        place(profile, "token_id", "token_secret"),
    ]
}

fn inject(input: &Input<'_>) -> Value {
    let config = input.field("config");
    let text = |name: &str| config.get(name).and_then(Value::as_str);
    let [environment, profile] = surroundings(input.field("ambient"));
    let configured = Place::configuration(text("token_id"), text("token_secret"));
    let mut variables = variables(input.field("environment"));
    match TokenPair::resolve([&configured, &environment, &profile]) {
        Some(pair) => {
            pair.inject(&mut variables);
            ok(named(&variables))
        }
        None => observed(ok(named(&variables)), "warnings", vec![NO_PAIR]),
    }
}

fn secret_of(variables: &[(String, String)]) -> Value {
    object([("secret", named(variables))])
}

fn call(name: &str, argument: Value, secret: Option<Value>) -> Value {
    let mut call = object([("call", name.into()), ("args", vec![argument].into())]);
    if let (Value::Object(fields), Some(secret)) = (&mut call, secret) {
        fields.insert("kwargs".to_owned(), object([("secret", secret)]));
    }
    call
}

fn registry_image(input: &Input<'_>) -> Option<Value> {
    let image = Value::from(input.text("image")?);
    let login = match input.field("credentials").as_array().map(Vec::as_slice) {
        Some([Value::String(username), Value::String(password)]) => Some(RegistryLogin {
            username: username.clone(),
            password: password.clone(),
        }),
        _ => None,
    };
    let Some(login) = login else {
        return Some(ok(vec![call("Image.from_registry", image, None)]));
    };
    let variables = login.variables();
    Some(ok(vec![
        call("Secret.from_dict", named(&variables), None),
        call("Image.from_registry", image, Some(secret_of(&variables))),
    ]))
}

/// A client is asked for twice, closed, and asked for again.
fn client_cache() -> Value {
    let kept = Kept::default();
    let built = Cell::new(0_u32);
    let is_open = Cell::new(true);
    let client = || {
        let make = || {
            built.set(built.get().saturating_add(1));
            Ok::<_, std::convert::Infallible>(built.get())
        };
        kept.get(|_| is_open.get(), make).unwrap_or_default()
    };
    let (first, second) = (client(), client());
    is_open.set(false);
    let third = client();
    ok(object([
        ("second_is_first", (second == first).into()),
        ("third_is_first", (third == first).into()),
        ("built", built.get().into()),
    ]))
}
