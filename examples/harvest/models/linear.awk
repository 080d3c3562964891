# Linear regression by the normal equations: X'X b = X'y. Rain and nitrogen come
# with their squares, because more of them helps up to a point only. Measures
# are standardised first; with raw millimetres squared the equations would lose
# half of their digits.

function configure() {
    label = "Linear regression"
    settings = 1
    terms = 8
}

# What is multiplied with the coefficients; loam is the soil without a term.
function design(kind, delay, rain, nitrogen) {
    x[1] = 1
    x[2] = delay
    x[3] = rain
    x[4] = rain * rain
    x[5] = nitrogen
    x[6] = nitrogen * nitrogen
    x[7] = kind == "clay"
    x[8] = kind == "sand"
}

function weigh(    i, sum) {
    for (i = 1; i <= terms; i++) sum += b[i] * x[i]
    return sum
}

function fit(skip,    row, i, j) {
    standardise(skip)
    for (i = 1; i <= terms; i++) for (j = 1; j <= terms + 1; j++) a[i, j] = 0
    for (row = 1; row <= train; row++) {
        if (!learns(row, skip)) continue
        design(soil[row], z[row, 1], z[row, 2], z[row, 3])
        for (i = 1; i <= terms; i++) {
            for (j = 1; j <= terms; j++) a[i, j] += x[i] * x[j]
            a[i, terms + 1] += x[i] * tonnes[row]
        }
    }
    solve()
}

# Gaussian elimination with the largest pivot of each column; a holds the
# equations, one a row, and b gets the solution.
function solve(    column, row, j, pivot, swap, factor) {
    for (column = 1; column <= terms; column++) {
        pivot = column
        for (row = column + 1; row <= terms; row++)
            if (size(a[row, column]) > size(a[pivot, column])) pivot = row
        if (size(a[pivot, column]) < 1e-9)
            die("the equations have no single solution: a kind of soil or a measure never varies")
        for (j = column; j <= terms + 1; j++) {
            swap = a[column, j]; a[column, j] = a[pivot, j]; a[pivot, j] = swap
        }
        for (row = column + 1; row <= terms; row++) {
            factor = a[row, column] / a[column, column]
            for (j = column; j <= terms + 1; j++) a[row, j] -= factor * a[column, j]
        }
    }
    for (row = terms; row >= 1; row--) {
        b[row] = a[row, terms + 1]
        for (j = row + 1; j <= terms; j++) b[row] -= a[row, j] * b[j]
        b[row] /= a[row, row]
    }
}

function size(number) {
    return number < 0 ? -number : number
}

function predict(row, s) {
    design(soil[row], z[row, 1], z[row, 2], z[row, 3])
    return weigh()
}

# The same in words, and as a curve over rain for each soil, all else average.
function describe() {
    learned("A week of delay in sowing means " change(7 * b[2] / deviation[1]) ".")
    learned("Going from 100 to 150 kg/ha of nitrogen means " change(at("loam", mean[2], 150) - at("loam", mean[2], 100)) ".")
    learned("Clay yields " change(b[7]) " than loam, sand " change(b[8]) ".")
    if (b[4] < 0) learned(sprintf("Yields peak at %.0f mm of rain.", mean[2] - deviation[2] * b[3] / (2 * b[4])))
    curve("clay")
    curve("loam")
    curve("sand")
}

function change(tonnes_more) {
    return sprintf("%.2f t/ha %s", size(tonnes_more), tonnes_more < 0 ? "less" : "more")
}

function at(kind, rain, nitrogen) {
    design(kind, 0, (rain - mean[2]) / deviation[2], (nitrogen - mean[3]) / deviation[3])
    return weigh()
}

function curve(kind,    row, rain, low, high) {
    low = high = value[1, 2]
    for (row = 2; row <= train; row++) {
        if (value[row, 2] < low) low = value[row, 2]
        if (value[row, 2] > high) high = value[row, 2]
    }
    for (rain = low; rain <= high; rain += 5)
        printf "%s,%d,%.6f\n", kind, rain, at(kind, rain, mean[3]) > (out "/linear.curve")
}
