# Nearest neighbours: a field will yield what the k most similar harvests
# yielded on average. How many, cross-validation says.

function configure() {
    label = "Nearest neighbours"
    settings = split("1 3 5 7 9 12 15 20 25", setting, " ")
    most = setting[settings]
    # Another soil is as far away as a measure that differs by one deviation.
    soil_distance = 1
}

function fit(skip,    row) {
    skipped = skip
    looked_at = 0
    standardise(skip)
    learners = 0
    for (row = 1; row <= train; row++) if (learns(row, skip)) learners++
    if (learners < most) die("needs " most " harvests to learn from, found " learners)
}

function predict(row, s,    i, sum) {
    # The neighbours of a row are the same for every setting.
    if (row != looked_at) look_at(row)
    for (i = 1; i <= setting[s]; i++) sum += tonnes[nearest[i]]
    return sum / setting[s]
}

# Fills nearest[1..most], the nearest first; of equals the earlier row.
function look_at(row,    other, m, d, i, found) {
    looked_at = row
    for (other = 1; other <= train; other++) {
        if (!learns(other, skipped)) continue
        d = soil[other] == soil[row] ? 0 : square(soil_distance)
        for (m = 1; m <= measures; m++) d += square(z[other, m] - z[row, m])
        if (found == most && d >= distance[most]) continue
        for (i = found < most ? ++found : most; i > 1 && distance[i - 1] > d; i--) {
            distance[i] = distance[i - 1]
            nearest[i] = nearest[i - 1]
        }
        distance[i] = d
        nearest[i] = other
    }
}

function describe() {
    learned(sprintf("Of 1 to %d neighbours, %d predict best; a single one is off by %.2f t/ha in cross-validation.", \
        most, setting[best], cv_rmse[1]))
}
