#!/bin/sh
# Trains one model and has it predict the season that was kept back.
#
#     sh steps/train.sh MODEL      a file models/MODEL.awk
#
# Leaves: MODEL.predictions (field, season, yield), MODEL.facts, and what the
# model itself adds. Steps that run side by side never write the same file.
set -eu
. steps/setup.sh
need train.csv
need test.csv

[ $# -eq 1 ] || fail "usage: sh steps/train.sh MODEL"
[ -r "models/$1.awk" ] || fail "there is no model $1: models/$1.awk cannot be read"

MODEL=$1
export MODEL
exec awk -f models/arithmetic.awk -f models/training.awk -f "models/$MODEL.awk" \
    "$FLAVOR_RUN_DIR/train.csv" "$FLAVOR_RUN_DIR/test.csv"
