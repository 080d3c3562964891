#!/bin/sh
# Holds the predictions of all models against the yields that were kept back.
# The model to use is the one with the smallest error in cross-validation: a
# choice made by the kept-back season would make its own result look too good.
#
#     sh steps/compare.sh MODEL...
#
# Leaves: comparison.csv (model, label, error in cross-validation, then of the
# kept-back season: RMSE, MAE, R2, bias, tonnes predicted; best model first);
# compared.csv (field, soil, hectares, actual yield, then one column per model in
# the same order); compare.facts
set -eu
. steps/setup.sh
need answers.csv

[ $# -ge 2 ] || fail "usage: sh steps/compare.sh MODEL MODEL..."
for model in "$@"; do
    need "$model.facts"
    need "$model.predictions"
    error=$(awk -F '\t' '$1 == "cv_rmse" { print $2 }' "$FLAVOR_RUN_DIR/$model.facts")
    [ -n "$error" ] || fail "$model.facts does not say the error in cross-validation"
    echo "$error $model"
done >"$FLAVOR_RUN_DIR/models.ranked"

# Equal errors leave the order of the names, so that the winner is no accident.
MODELS=$(sort -k 1,1n -k 2 "$FLAVOR_RUN_DIR/models.ranked" | cut -d ' ' -f 2 | tr '\n' ' ')
rm "$FLAVOR_RUN_DIR/models.ranked"
export MODELS

exec awk -f models/arithmetic.awk -f models/compare.awk "$FLAVOR_RUN_DIR/answers.csv"
