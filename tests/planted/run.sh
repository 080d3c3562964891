#!/usr/bin/env bash
# Plants bugs in a copy of the plugin, one at a time, and says what finds them:
#
#     tests/planted/run.sh [PATCH...]
#
# FLAVOR is the program to test with; without it target/release/flavor. Takes about a
# minute for each patch.
set -euo pipefail

cd "$(dirname "$0")/../.."
flavor=${FLAVOR:-$PWD/target/release/flavor}
work=$PWD/target/planted
patches=("$@")
[ ${#patches[@]} -gt 0 ] || patches=(tests/planted/named/*.patch tests/planted/sampled/*.patch)

# The first run that fails, as FILE and seed.
first_failure() {
    timeout 300 "$flavor" test --plugin "$1" --json --fail-fast "${@:2}" 2>/dev/null |
        grep -m1 '"passed":false' |
        sed 's/.*"file":"\([^"]*\)".*"seed":\([0-9]*\).*/\1 seed \2/' || true
}

rm -rf "$work/source"
git checkout-index --all --prefix="$work/source/"
for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    patch=$(realpath "$patch")
    patch --directory="$work/source" --strip=1 --silent <"$patch"
    if cargo build --quiet --manifest-path "$work/source/Cargo.toml" --locked --release \
        --package modal-flavor --target wasm32-wasip2 --target-dir "$work/target"; then
        component=$work/target/wasm32-wasip2/release/modal_flavor.wasm
        scenario=$(first_failure "$component" tests/scenarios)
        seed=$(first_failure "$component" tests/planted --chaos --seeds 1000)
        echo "| $name | ${scenario:-missed} | ${seed:-missed} |"
    else
        echo "| $name | does not build | |"
    fi
    patch --directory="$work/source" --strip=1 --silent --reverse <"$patch"
done
