#!/bin/sh
# Parts what models learn from and what they are judged by. One season is kept
# back as a whole: harvests of one season share their weather, and a model
# that has seen half of them would be judged too well. Its yields go into a file
# that no training step reads.
#
# TEST_SEASON: the season that is kept back; later ones are left out, because
# nobody who predicts it can know them
# Leaves: train.csv (field, season, soil, delay, rain, nitrogen, yield), test.csv
# (the same without yield), answers.csv (field, season, soil, hectares, yield);
# split.facts
set -eu
. steps/setup.sh
need_season
need clean.csv

awk '
BEGIN {
    FS = OFS = ","
    out = ENVIRON["FLAVOR_RUN_DIR"]
    test_season = ENVIRON["TEST_SEASON"] + 0
}

{
    field = $2; soil = $3; hectares = $4; season = $5
    delay = $6; rain = $7; nitrogen = $8; tonnes = $9
}

season < test_season {
    train++
    if (!first || season < first) first = season
    if (season > last) last = season
    print field, season, soil, delay, rain, nitrogen, tonnes > (out "/train.csv")
}

season == test_season {
    test++
    print field, season, soil, delay, rain, nitrogen > (out "/test.csv")
    print field, season, soil, hectares, tonnes > (out "/answers.csv")
}

season > test_season { later++ }

END {
    if (!test) problem = "no good harvest is of TEST_SEASON=" test_season ": nothing to judge models by"
    else if (first == last) problem = "models need good harvests of two seasons before " test_season
    if (problem) {
        print "error: " problem > "/dev/stderr"
        exit 1
    }
    facts = out "/split.facts"
    print "train\t" train > facts
    print "test\t" test > facts
    print "left_out\t" later + 0 > facts
    print "first_season\t" first > facts
    print "last_season\t" last > facts
    print "test_season\t" test_season > facts
    print train " harvests of " first " to " last " to learn from, " test " of " test_season " kept back"
    if (later) print later " of later seasons left out"
}
' "$FLAVOR_RUN_DIR/clean.csv"
