//! Every check over its seeds.

use std::path::Path;

#[test]
fn every_check_holds_for_its_seeds() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vectors/data");
    for (name, check) in fuzz::CHECKS {
        let seeds = fuzz::seeds::of(name, &cases).unwrap();
        assert!(seeds.len() > 3, "{name} has {} seeds", seeds.len());
        seeds.iter().for_each(|seed| check(seed));
    }
}
