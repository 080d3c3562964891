# What all models have in common: reading, scaling, choosing a setting by
# cross-validation, predicting.
#
# A model is a file that defines
#   configure()       fills setting[1..settings], label
#   fit(skip)         learns from the training rows of all seasons but `skip`
#   predict(row, s)   the yield of a row with setting s
#   describe()        says what was learned, with learned(sentence)
#
# Rows 1..train are training rows, rows train+1..rows those to predict.

BEGIN {
    FS = ","
    model = ENVIRON["MODEL"]
    out = ENVIRON["FLAVOR_RUN_DIR"]
    facts = out "/" model ".facts"
    measures = split("delay rain nitrogen", measure_name, " ")
}

FNR == 1 { files++ }

{
    rows++
    field[rows] = $1
    season[rows] = $2
    soil[rows] = $3
    for (m = 1; m <= measures; m++) value[rows, m] = $(3 + m)
}

files == 1 {
    train = rows
    tonnes[rows] = $7
    if (!($2 in known_season)) {
        known_season[$2] = 1
        season_list[++seasons] = $2
    }
}

END {
    if (files != 2) die("train.csv or test.csv has no rows")
    configure()
    best = cross_validate()
    fit("")
    for (row = train + 1; row <= rows; row++)
        printf "%s,%s,%.6f\n", field[row], season[row], predict(row, best) > (out "/" model ".predictions")
    print "label\t" label > facts
    printf "cv_rmse\t%.6f\n", cv_rmse[best] > facts
    printf "%s: off by %.2f t/ha in cross-validation over %d seasons\n", label, cv_rmse[best], seasons
    describe()
    print "learned\t" sentences > facts
}

# A sentence for the log and for the report.
function learned(sentence) {
    print sentence
    sentences = sentences (sentences == "" ? "" : " ") sentence
}

# Each season in turn is predicted by a model that has not seen it, as the last
# season will be. Gives the setting with the smallest root mean square error;
# of equals the first.
function cross_validate(    i, row, s, squares, best) {
    for (i = 1; i <= seasons; i++) {
        fit(season_list[i])
        for (row = 1; row <= train; row++) {
            if (season[row] != season_list[i]) continue
            for (s = 1; s <= settings; s++) squares[s] += square(predict(row, s) - tonnes[row])
        }
    }
    best = 1
    for (s = 1; s <= settings; s++) {
        cv_rmse[s] = root(squares[s] / train)
        if (cv_rmse[s] < cv_rmse[best]) best = s
    }
    return best
}

function learns(row, skip) {
    return row <= train && season[row] != skip
}

# Mean and deviation of each measure over the rows that are learned from, and
# every row in these terms: a day and a millimetre cannot be compared, two
# deviations can.
function standardise(skip,    m, row, n, sum) {
    for (m = 1; m <= measures; m++) {
        n = sum = 0
        for (row = 1; row <= train; row++) if (learns(row, skip)) { n++; sum += value[row, m] }
        mean[m] = sum / n
        sum = 0
        for (row = 1; row <= train; row++) if (learns(row, skip)) sum += square(value[row, m] - mean[m])
        deviation[m] = root(sum / n)
        if (deviation[m] == 0) die(measure_name[m] " is the same in all training rows: nothing to learn from")
        for (row = 1; row <= rows; row++) z[row, m] = (value[row, m] - mean[m]) / deviation[m]
    }
}

function die(message) {
    print "error: " model ": " message > "/dev/stderr"
    exit 1
}
