# What every step does first. Read with `. steps/setup.sh`.

# Numbers have a decimal point and letters sort by their bytes, whatever the
# language of the machine is.
LC_ALL=C
export LC_ALL

fail() {
    echo "error: $*" >&2
    exit 1
}

# Leaves unless the step before has left the named file in the run's directory.
need() {
    [ -r "$FLAVOR_RUN_DIR/$1" ] || fail "$1 is missing in $FLAVOR_RUN_DIR: run the steps before this one"
}

# Leaves unless TEST_SEASON is a year.
need_season() {
    case ${TEST_SEASON:-} in
    20[0-9][0-9]) ;;
    *) fail "TEST_SEASON is \`${TEST_SEASON:-}\`: write a year such as 2024" ;;
    esac
}

[ -n "${FLAVOR_RUN_DIR:-}" ] || fail "FLAVOR_RUN_DIR is not set: start this with \`flavor run pipeline.yaml\`"
[ -d "$FLAVOR_RUN_DIR" ] || fail "FLAVOR_RUN_DIR is $FLAVOR_RUN_DIR, which is not a directory"
