# Reads what the steps before have left, for both reports.

BEGIN {
    out = ENVIRON["FLAVOR_RUN_DIR"]
    read_facts("ingest")
    read_facts("validate")
    read_facts("split")
    read_facts("compare")
    read_quality()
    read_training()
    read_comparison()
    read_compared()
    for (i = 1; i <= models; i++) read_facts(model[i])
    test = fact["split", "test_season"]
    period = fact["split", "first_season"] " to " fact["split", "last_season"]
}

# Every file is there: the step has looked. One that cannot be read to its end
# must not become half a report.
function next_record(file,    status) {
    status = (getline record < file)
    if (status < 0) {
        print "error: " file " cannot be read" > "/dev/stderr"
        exit 1
    }
    if (status == 0) close(file)
    return status
}

function read_facts(name,    file, part) {
    file = out "/" name ".facts"
    while (next_record(file)) {
        split(record, part, "\t")
        fact[name, part[1]] = part[2]
    }
}

# Rules that rows were rejected for: how many, and the first of them.
function read_quality(    file, part) {
    file = out "/quality.tsv"
    while (next_record(file)) {
        split(record, part, "\t")
        rule[++rules] = part[1]
        broken[rules] = part[2]
        first_line[rules] = part[3]
        first_row[rules] = part[4]
    }
}

function read_training(    file, part) {
    file = out "/train.csv"
    while (next_record(file)) {
        split(record, part, ",")
        seen++
        seen_field[seen] = part[1]
        seen_season[seen] = part[2]
        seen_soil[seen] = part[3]
        seen_rain[seen] = part[5] + 0
        seen_yield[seen] = part[7] + 0
    }
}

# The models, the best first.
function read_comparison(    file, part, m) {
    file = out "/comparison.csv"
    while (next_record(file)) {
        split(record, part, ",")
        m = model[++models] = part[1]
        label[m] = part[2]
        cv[m] = part[3] + 0
        rmse[m] = part[4] + 0
        mae[m] = part[5] + 0
        r2[m] = part[6] + 0
        bias[m] = part[7] + 0
        tonnes[m] = part[8] + 0
    }
    best = model[1]
}

# The kept-back harvests, and what each model said of them.
function read_compared(    file, part, i) {
    file = out "/compared.csv"
    while (next_record(file)) {
        split(record, part, ",")
        field[++rows] = part[1]
        soil[rows] = part[2]
        actual[rows] = part[4] + 0
        for (i = 1; i <= models; i++) predicted[model[i], rows] = part[4 + i] + 0
    }
}

# Rows of the kept-back season where the best model is furthest off, the worst
# first; of equals the earlier row.
function furthest_off(many, worst,    i, j, taken, found) {
    for (i = 1; i <= many && i <= rows; i++) {
        found = 0
        for (j = 1; j <= rows; j++)
            if (!(j in taken) && (!found || off(j) > off(found))) found = j
        taken[found] = 1
        worst[i] = found
    }
    return i - 1
}

function off(row) {
    return size(predicted[best, row] - actual[row])
}

function size(number) {
    return number < 0 ? -number : number
}

function smaller(a, b) {
    return a < b ? a : b
}

function larger(a, b) {
    return a > b ? a : b
}

# A number with so many digits after the point; never `-0.00`.
function fixed(number, digits,    text) {
    text = sprintf("%." digits "f", number)
    if (text + 0 == 0) sub(/^-/, "", text)
    return text
}

function signed(number, digits,    text) {
    text = fixed(number, digits)
    return text + 0 > 0 ? "+" text : text
}

# A whole number with commas: 8,114.
function grouped(number,    text, rest) {
    text = sprintf("%.0f", size(number))
    while (length(text) > 3) {
        rest = "," substr(text, length(text) - 2) rest
        text = substr(text, 1, length(text) - 3)
    }
    return (number <= -0.5 ? "-" : "") text rest
}
