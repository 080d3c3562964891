# The report as Markdown that can be read as it is.

BEGIN {
    print "# Wheat harvest " test ": " tolower(substr(headline(), 1, 1)) substr(headline(), 2)
    print ""
    print "The data is invented, by `data/make-data.sh`: it says nothing about wheat."
    section("Verdict")
    n = judge()
    for (i = 1; i <= n; i++) print (i > 1 ? "\n" : "") verdict[i]
    section("Models compared")
    comparison()
    section("Predicted against actual")
    print "Harvests of " test ", " lower_label(best) ". On the dotted line a prediction is right."
    print ""
    plot(52, 17)
    section("What the models learned")
    for (i = 1; i <= models; i++) print "- **" label[model[i]] "**: " fact[model[i], "learned"]
    section("Furthest off")
    misses()
    section("The data")
    print data_summary()
    print ""
    quality()
    print ""
    print "| | harvests |\n|---|--:|"
    print "| to learn from | " fact["split", "train"] " |"
    print "| to be judged by | " fact["split", "test"] " |"
    if (fact["split", "left_out"]) print "| of later seasons | " fact["split", "left_out"] " |"
    print "| rejected | " fact["validate", "rejected"] " |"
    section("Method")
    print method()
    print ""
    print "RMSE: root of the mean squared error, large errors count more. MAE: mean size of the error. R²: share of"
    print "the differences that is explained; 0 is what the season's own average would get. Bias: predicted less actual."
}

function section(title) {
    print "\n## " title "\n"
}

function comparison(    i, m, most, width) {
    print "| model | cross-validation RMSE | RMSE " test " | MAE | R² | bias |"
    print "|---|--:|--:|--:|--:|--:|"
    for (i = 1; i <= models; i++) {
        m = model[i]
        print "| " (i == 1 ? "**" label[m] "**" : label[m]) " | " fixed(cv[m], 3) " | " fixed(rmse[m], 3) " | " \
            fixed(mae[m], 3) " | " fixed(r2[m], 2) " | " signed(bias[m], 2) " |"
        if (rmse[m] > most) most = rmse[m]
    }
    print "\nErrors in t/ha: RMSE of " test ".\n\n```text"
    for (i = 1; i <= models; i++) {
        m = model[i]
        width = most > 0 ? int(40 * rmse[m] / most + 0.5) : 0
        printf "%-20s %s %s\n", label[m], repeat("#", width), fixed(rmse[m], 2)
    }
    print "```"
}

function repeat(text, times,    many) {
    while (times-- > 0) many = many text
    return many
}

# A scatter plot of characters; a digit where several harvests fall together.
function plot(columns, lines,    i, x, y, low, high, cell, text) {
    low = high = actual[1]
    for (i = 1; i <= rows; i++) {
        low = smaller(low, smaller(actual[i], predicted[best, i]))
        high = larger(high, larger(actual[i], predicted[best, i]))
    }
    if (high == low) high = low + 1
    for (i = 1; i <= rows; i++) {
        x = int((actual[i] - low) / (high - low) * (columns - 1) + 0.5)
        y = int((predicted[best, i] - low) / (high - low) * (lines - 1) + 0.5)
        cell[x, y]++
    }
    print "```text\npredicted t/ha"
    for (y = lines - 1; y >= 0; y--) {
        text = ""
        for (x = 0; x < columns; x++) {
            if (cell[x, y]) text = text (cell[x, y] == 1 ? "o" : cell[x, y] > 9 ? "+" : cell[x, y])
            else text = text (int(y * (columns - 1) / (lines - 1) + 0.5) == x ? "." : " ")
        }
        sub(/ +$/, "", text)
        i = y % 4 ? "     " : sprintf("%5.1f", low + y * (high - low) / (lines - 1))
        print i " |" text
    }
    print "      +" repeat("-", columns)
    printf "     %.1f%" (columns - 3) "s%.1f  actual t/ha\n```\n", low, "", high
}

function misses(    n, i, row, worst) {
    print "| field | soil | actual t/ha | predicted t/ha | difference |"
    print "|---|---|--:|--:|--:|"
    n = furthest_off(5, worst)
    for (i = 1; i <= n; i++) {
        row = worst[i]
        print "| " field[row] " | " soil[row] " | " fixed(actual[row], 2) " | " fixed(predicted[best, row], 2) " | " \
            signed(predicted[best, row] - actual[row], 2) " |"
    }
}

function quality(    i) {
    if (!rules) {
        print "Nothing was rejected."
        return
    }
    print "| rejected because | for example | rows | line |"
    print "|---|---|--:|--:|"
    for (i = 1; i <= rules; i++) print "| " rule[i] " | " code(first_row[i]) " | " broken[i] " | " first_line[i] " |"
}

# Whatever stands in a rejected row, it stays one cell of a table.
function code(text) {
    gsub(/`/, "'", text)
    gsub(/\|/, "/", text)
    gsub(/[\001-\037\177]/, "?", text)
    return "`" text "`"
}
