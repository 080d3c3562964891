#!/bin/sh
# Keeps the harvests that can be true, and says of every other one why not. A
# row is rejected for the first rule that it breaks; none is repaired by guess.
# Fails when so much is wrong that a model of the rest would mean little.
#
# MAX_REJECTED_PERCENT: how many rows of a hundred may be rejected
# Leaves: clean.csv (line, field, soil, hectares, season, delay, rain, nitrogen,
# yield); rejected.tsv (line, rule, row); quality.tsv (rule, count, first line,
# first row); validate.facts
set -eu
. steps/setup.sh
need fields.csv
need harvests.csv

case ${MAX_REJECTED_PERCENT:-} in
'' | *[!0-9]*) fail "MAX_REJECTED_PERCENT is \`${MAX_REJECTED_PERCENT:-}\`: write a whole number of percent" ;;
esac

awk '
function number(text) {
    return text ~ /^-?[0-9]+(\.[0-9]+)?$/
}

# The rules in the order of the report. Wide bounds: they are there for what
# cannot be, not for what is rare.
function broken_rule() {
    if (columns != 6) return 1
    if (!(field in soil)) return 2
    if (season !~ /^[0-9]+$/ || season < 2000 || season > 2030) return 3
    if (delay == "" || rain == "" || nitrogen == "" || tonnes == "") return 4
    if (!number(delay) || !number(rain) || !number(nitrogen) || !number(tonnes)) return 5
    if (delay < 0 || delay > 90) return 6
    if (rain < 50 || rain > 1500) return 7
    if (nitrogen < 0 || nitrogen > 400) return 8
    if (tonnes < 0.3 || tonnes > 16) return 9
    if ((field, season) in seen) return 10
    return 0
}

function reject(rule,    row) {
    row = $0
    sub(/^[0-9]+,/, "", row)
    print line "\t" text[rule] "\t" row > (out "/rejected.tsv")
    rejected++
    if (!count[rule]++) {
        first_line[rule] = line
        first_row[rule] = row
    }
}

BEGIN {
    FS = OFS = ","
    out = ENVIRON["FLAVOR_RUN_DIR"]
    rules = split("not 6 columns|field is not in fields.csv|season outside 2000 to 2030|" \
        "a value is missing|a value is not a number|sowing delay outside 0 to 90 days|" \
        "rain outside 50 to 1500 mm|nitrogen outside 0 to 400 kg/ha|" \
        "yield outside 0.3 to 16 t/ha|field and season were there before", text, "|")
    # Empty results are results: the steps after this one find their files.
    printf "" > (out "/clean.csv")
    printf "" > (out "/rejected.tsv")
    printf "" > (out "/quality.tsv")
}

FNR == NR {
    soil[$1] = $2
    hectares[$1] = $3
    next
}

{
    total++
    columns = NF - 1
    line = $1; field = $2; season = $3; delay = $4; rain = $5; nitrogen = $6; tonnes = $7
    rule = broken_rule()
    if (rule) {
        reject(rule)
        next
    }
    seen[field, season] = 1
    print line, field, soil[field], hectares[field], season, delay, rain, nitrogen, tonnes > (out "/clean.csv")
}

END {
    if (!total) {
        print "error: there are no harvests" > "/dev/stderr"
        exit 1
    }
    for (rule = 1; rule <= rules; rule++) {
        if (!count[rule]) continue
        print text[rule] "\t" count[rule] "\t" first_line[rule] "\t" first_row[rule] > (out "/quality.tsv")
        listed = listed (listed ? "; " : "") count[rule] " " text[rule]
    }
    facts = out "/validate.facts"
    print "clean\t" total - rejected > facts
    print "rejected\t" rejected + 0 > facts
    printf "%d of %d harvests are good, %d rejected\n", total - rejected, total, rejected
    if (rejected) print "rejected: " listed
    limit = ENVIRON["MAX_REJECTED_PERCENT"]
    if (100 * rejected > limit * total) {
        printf "error: %.1f %% of the harvests are rejected, more than MAX_REJECTED_PERCENT=%d allows; see %s/rejected.tsv\n", \
            100 * rejected / total, limit, out > "/dev/stderr"
        exit 1
    }
}
' "$FLAVOR_RUN_DIR/fields.csv" "$FLAVOR_RUN_DIR/harvests.csv"
