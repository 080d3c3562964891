//! Looks around for what it should not see.

use super::Context;
use super::bindings::zenml::flavor::credentials;
use super::text;
use std::io::{Read as _, Write as _};

pub(super) fn attack(name: &str, context: &Context, arguments: &[&str]) -> Option<String> {
    match name {
        "look" => Some(look(context)),
        "credentials" => Some(format!("{:?}", credentials::forwardable())),
        "scan" => Some(scan(text(arguments, 0))),
        _ => None,
    }
}

/// All that a guest can read.
fn look(context: &Context) -> String {
    let variables: Vec<_> = std::env::vars_os().collect();
    let arguments: Vec<_> = std::env::args_os().collect();
    let directory = std::env::current_dir();
    let mut input = Vec::new();
    let read = std::io::stdin().read_to_end(&mut input);
    let written = std::io::stdout().write_all(b"nobody reads this\n");
    format!(
        "{context:?} variables={variables:?} arguments={arguments:?} directory={directory:?} \
         input={read:?} output={written:?}"
    )
}

/// Looks through all of its memory for a text. It comes masked, so that asking
/// does not put it there.
fn scan(masked: &str) -> String {
    const MASK: u8 = 0x15;
    let pages = core::arch::wasm32::memory_size(0);
    let end = pages * 65_536;
    let wanted = masked.as_bytes();
    let mut found = 0;
    for start in 1..end.saturating_sub(wanted.len()) {
        let matches = |(offset, byte): (usize, &u8)| {
            let address = std::ptr::without_provenance::<u8>(start + offset);
            #[allow(unsafe_code, reason = "the attack is to read everything")]
            // SAFETY: below the end of the memory every address can be read.
            let there = unsafe { address.read_volatile() };
            there ^ MASK == *byte
        };
        if wanted.iter().enumerate().all(matches) {
            found += 1;
        }
    }
    format!("found {found} times in {pages} pages")
}
