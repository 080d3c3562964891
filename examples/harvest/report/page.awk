# The report as a page: one file that needs no other, well-formed XML as well.

BEGIN {
    head("Wheat harvest " test)
    tiles()
    section("Verdict")
    n = judge()
    for (i = 1; i <= n; i++) print "<p>" escaped(verdict[i]) "</p>"
    section("Models compared")
    comparison()
    figure("error_chart", "Errors as RMSE in t/ha; shorter is better. Upper bar: season " test \
        ". Lower bar: each season from " period " predicted from the others.")
    section("Predicted against actual")
    predictions()
    section("What the models learned")
    for (i = 1; i <= models; i++)
        print "<p><b>" escaped(label[model[i]]) ".</b> " escaped(fact[model[i], "learned"]) "</p>"
    figure("rain_chart", "The harvests that models learned from. Curves: linear regression, all but rain and soil average.")
    section("Furthest off")
    misses()
    section("The data")
    print "<p>" escaped(data_summary()) "</p>"
    figure("flow_chart", "What became of all rows.")
    quality()
    section("Method")
    print "<p>" escaped(method()) "</p>"
    print "<p>RMSE is the root of the mean squared error, so large errors count more; MAE is the mean size of the error. " \
        "R² is the share of the differences that is explained; 0 is what the season’s own average would get. " \
        "Bias is predicted less actual.</p>"
    print "</section></main>"
    print "<footer>Made by the pipeline <code>examples/harvest/pipeline.yaml</code> with a shell and awk. " \
        "The data is invented.</footer>"
    print "</body></html>"
}

function head(title) {
    print "<!DOCTYPE html>"
    print "<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta charset=\"utf-8\"/>"
    print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>"
    print "<title>" escaped(title ": " tolower(headline())) "</title><style>"
    while (next_record("report/style.css")) print record
    print "</style></head><body><header><p class=\"over\">" escaped(title) "</p>"
    print "<h1>" escaped(headline()) "</h1>"
    print "<p>" fact["split", "train"] " harvests of " period " to learn from, " fact["split", "test"] " of " test \
        " to be judged by. The data is invented, by <code>data/make-data.sh</code>: it says nothing about wheat.</p></header><main>"
}

function tiles() {
    print "<div class=\"tiles\">"
    tile(fixed(mae[best], 2) " t/ha", "average error in " test)
    if (best != "mean" && "mean" in rmse) tile(fixed(improvement(), 0) " %", "less error than guessing the average")
    tile(fixed(r2[best], 2), "R² in " test)
    tile(fact["validate", "rejected"] " of " fact["ingest", "harvests"], "rows rejected")
    print "</div>"
}

function tile(value, words) {
    print "<div><b>" escaped(value) "</b><span>" escaped(words) "</span></div>"
}

# Ends the section before, if there is one.
function section(title) {
    if (sections++) print "</section>"
    print "<section><h2>" escaped(title) "</h2>"
}

function figure(chart, caption) {
    print "<figure class=\"wide\">"
    if (chart == "error_chart") error_chart()
    else if (chart == "rain_chart") rain_chart()
    else flow_chart()
    print "<figcaption>" escaped(caption) "</figcaption></figure>"
}

function comparison(    i, m) {
    table("model", "cross-validation RMSE:RMSE " test ":MAE:R²:bias")
    for (i = 1; i <= models; i++) {
        m = model[i]
        print "<tr" (i == 1 ? " class=\"best\"" : "") "><td><i class=\"swatch rank" i "\"></i>" escaped(label[m]) "</td>"
        print cell(fixed(cv[m], 3)) cell(fixed(rmse[m], 3)) cell(fixed(mae[m], 3)) cell(fixed(r2[m], 2)) \
            cell(signed(bias[m], 2)) "</tr>"
    }
    print "</tbody></table></div>"
}

# A small chart for each model, all on the same axes.
function predictions(    i, j, m, from, to) {
    from = to = actual[1]
    for (j = 1; j <= rows; j++) {
        from = smaller(from, actual[j])
        to = larger(to, actual[j])
        for (i = 1; i <= models; i++) {
            from = smaller(from, predicted[model[i], j])
            to = larger(to, predicted[model[i], j])
        }
    }
    print "<div class=\"panels\">"
    for (i = 1; i <= models; i++) {
        m = model[i]
        print "<figure><h3>" escaped(label[m]) "</h3>"
        prediction_chart(m, i, from, to)
        print "</figure>"
    }
    print "</div><p class=\"note\">Every dot is a field in " test ". On the line a prediction is right; above it too much was promised.</p>"
}

function misses(    n, i, row, worst) {
    n = furthest_off(5, worst)
    print "<p>Where " escaped(lower_label(best)) " erred most: a place to look for what the data does not say.</p>"
    table("field:soil", "actual t/ha:predicted t/ha:difference")
    for (i = 1; i <= n; i++) {
        row = worst[i]
        print "<tr><td>" escaped(field[row]) "</td><td>" escaped(soil[row]) "</td>" cell(fixed(actual[row], 2)) \
            cell(fixed(predicted[best, row], 2)) cell(signed(predicted[best, row] - actual[row], 2)) "</tr>"
    }
    print "</tbody></table></div>"
}

function quality(    i) {
    if (!rules) {
        print "<p>Nothing was rejected.</p>"
        return
    }
    table("rejected because:for example", "rows:line")
    for (i = 1; i <= rules; i++)
        print "<tr><td>" escaped(rule[i]) "</td><td><code>" escaped(first_row[i]) "</code></td>" cell(broken[i]) \
            cell(first_line[i]) "</tr>"
    print "</tbody></table></div>"
}

# The head of a table: columns of words, then columns of numbers. Wide ones scroll
# by themselves, not the page.
function table(words, numbers) {
    print "<div class=\"wide\"><table><thead><tr>"
    heads("", words)
    heads(" class=\"number\"", numbers)
    print "</tr></thead><tbody>"
}

function heads(class, columns,    i, n, name) {
    n = split(columns, name, ":")
    for (i = 1; i <= n; i++) print "<th" class ">" escaped(name[i]) "</th>"
}

function cell(value) {
    return "<td class=\"number\">" escaped(value) "</td>"
}

# Safe as text and as an attribute's value, whatever stands in the data.
function escaped(text) {
    gsub(/[\001-\037\177]/, "?", text)
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    gsub(/"/, "\\&quot;", text)
    return text
}
