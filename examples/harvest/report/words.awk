# What the numbers say, in sentences. Each is true for whatever the numbers are:
# another season or other data may have another winner, or none.

function lower_label(m) {
    return tolower(substr(label[m], 1, 1)) substr(label[m], 2)
}

# Fills verdict[1..n].
function judge(    n) {
    verdict[++n] = advice()
    verdict[++n] = expectation()
    verdict[++n] = agreement()
    if (best != "mean") verdict[++n] = whole_harvest()
    return n
}

function headline() {
    if (best == "mean") return "No model beats guessing the average"
    return label[best] " predicts best"
}

function advice(    text, gain) {
    if (best == "mean")
        return "Use none of these models: in cross-validation none is better than guessing the average of all harvests before."
    text = "Use " lower_label(best) ". On the " rows " harvests of " test ", which no model had seen, it is off by " \
        fixed(mae[best], 2) " t/ha on average, where yields are " fixed(fact["compare", "average"], 1) " t/ha."
    if (!("mean" in rmse)) return text
    gain = improvement()
    if (gain >= 0.5) text = text " Its error (RMSE) is " fixed(gain, 0) " % smaller than that of guessing the average."
    else text = text " In this season guessing the average would have done no worse."
    if (r2[best] > 0) text = text " It explains " fixed(100 * r2[best], 0) " % of what makes one harvest differ from another."
    return text
}

# By how many percent the best model's error is below the yardstick's.
function improvement() {
    return "mean" in rmse && rmse["mean"] > 0 ? 100 * (1 - rmse[best] / rmse["mean"]) : 0
}

function expectation(    ratio) {
    ratio = cv[best] > 0 ? rmse[best] / cv[best] : 1
    if (ratio < 0.85)
        return "In a new season expect an error of " fixed(cv[best], 2) " t/ha rather than the " fixed(rmse[best], 2) \
            " t/ha of " test ": so large it is on average when each season from " period \
            " is predicted from the others. " test " was an easy one."
    if (ratio > 1.15)
        return test " was harder than usual: the error is " fixed(rmse[best], 2) " t/ha, and " fixed(cv[best], 2) \
            " t/ha when each season from " period " is predicted from the others. Do not count on the smaller one."
    return "The error of " fixed(rmse[best], 2) " t/ha is what cross-validation had promised (" fixed(cv[best], 2) \
        " t/ha): count on as much in a new season."
}

function agreement(    i, leader) {
    leader = best
    for (i = 1; i <= models; i++) if (rmse[model[i]] < rmse[leader]) leader = model[i]
    if (leader == best)
        return "The choice was made by cross-validation, before " test " was looked at; " test " confirms it."
    return "The choice was made by cross-validation, before " test " was looked at. In " test " itself " \
        lower_label(leader) " is better (RMSE " fixed(rmse[leader], 2) " against " fixed(rmse[best], 2) \
        " t/ha), but one season decides little."
}

function whole_harvest(    came, said, percent) {
    came = fact["compare", "tonnes"]
    said = tonnes[best]
    percent = 100 * (said - came) / came
    return "For the whole harvest of " test " it says " grouped(said) " t; " grouped(came) " t came in: " \
        fixed(size(percent), 1) " % too " (said < came ? "little." : "much.")
}

function data_summary() {
    return grouped(fact["ingest", "harvests"]) " harvests of wheat on " fact["ingest", "fields"] \
        " fields: soil, delay in sowing, rain from October to July, nitrogen given, and tonnes per hectare. " \
        fact["ingest", "tidied"] " rows were tidied (blanks, small letters), " fact["validate", "rejected"] \
        " rejected, none repaired by guess."
}

function method(    text) {
    text = "Models learn from the harvests of " period " and are judged by those of " test \
        ", of which none of them has seen any."
    if (fact["split", "left_out"]) text = text " " fact["split", "left_out"] " harvests of later seasons are left out."
    return text " In cross-validation each season from " period " is predicted by a model of the others in the same way."
}
