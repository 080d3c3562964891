# Measures the predictions of the models in MODELS, which are ranked, by the
# yields that were kept back.

BEGIN {
    FS = ","
    out = ENVIRON["FLAVOR_RUN_DIR"]
    models = split(ENVIRON["MODELS"], model, " ")
}

{
    rows++
    key[rows] = $1 "," $2
    field[rows] = $1
    soil[rows] = $3
    hectares[rows] = $4
    actual[rows] = $5
    yields += $5
    tonnes += $4 * $5
}

END {
    if (!rows) die("answers.csv has no rows")
    average = yields / rows
    for (i = 1; i <= models; i++) {
        read_facts(model[i])
        read_predictions(model[i])
        measure(model[i])
    }
    for (row = 1; row <= rows; row++) {
        joined = field[row] "," soil[row] "," hectares[row] "," actual[row]
        for (i = 1; i <= models; i++) joined = joined "," predicted[model[i], key[row]]
        print joined > (out "/compared.csv")
    }
    printf "average\t%.6f\n", average > (out "/compare.facts")
    printf "tonnes\t%.1f\n", tonnes > (out "/compare.facts")
    print fact[model[1], "label"] " did best in cross-validation and is the one to use"
}

function read_facts(m,    file, record, part) {
    file = out "/" m ".facts"
    while ((getline record < file) > 0) {
        split(record, part, "\t")
        fact[m, part[1]] = part[2]
    }
    close(file)
}

# One prediction for each harvest, no more and no fewer: a model that leaves out
# what is hard must not win.
function read_predictions(m,    file, record, part, row, count) {
    file = out "/" m ".predictions"
    while ((getline record < file) > 0) {
        split(record, part, ",")
        predicted[m, part[1] "," part[2]] = part[3]
        count++
    }
    close(file)
    for (row = 1; row <= rows; row++)
        if (!((m, key[row]) in predicted)) die(m " predicts nothing for field and season " key[row])
    if (count != rows) die(m " has " count " predictions for " rows " harvests")
}

function measure(m,    row, error, squares, absolute, sum, spread, total, rmse, r2) {
    for (row = 1; row <= rows; row++) {
        error = predicted[m, key[row]] - actual[row]
        squares += square(error)
        absolute += error < 0 ? -error : error
        sum += error
        spread += square(actual[row] - average)
        total += predicted[m, key[row]] * hectares[row]
    }
    rmse = root(squares / rows)
    # Where all yields are equal there is nothing to explain.
    r2 = spread ? 1 - squares / spread : 0
    printf "%s,%s,%.6f,%.6f,%.6f,%.6f,%.6f,%.1f\n", m, fact[m, "label"], fact[m, "cv_rmse"], \
        rmse, absolute / rows, r2, sum / rows, total > (out "/comparison.csv")
    printf "%-18s  RMSE %.2f t/ha  R2 %5.2f\n", fact[m, "label"], rmse, (r2 > -0.005 && r2 < 0 ? 0 : r2)
}

function die(message) {
    print "error: " message > "/dev/stderr"
    exit 1
}
