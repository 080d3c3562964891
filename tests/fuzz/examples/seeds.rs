//! Writes the corpora that a fuzzer starts from: `corpus/CHECK/SEED`.

use anyhow::Context as _;
use std::fs;
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (check, _) in fuzz::CHECKS {
        let corpus = own.join("corpus").join(check);
        fs::create_dir_all(&corpus).with_context(|| corpus.display().to_string())?;
        for (number, seed) in fuzz::seeds::of(check, &own.join("../vectors/data"))?
            .iter()
            .enumerate()
        {
            let file = corpus.join(format!("seed-{number}"));
            fs::write(&file, seed).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}
