# Charts as SVG. Colours and fonts come from the page's style; a pointer over a
# mark shows what it stands for.

function svg(width, height, name) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">\n", width, height, escaped(name)
}

function svg_line(class, x1, y1, x2, y2) {
    printf "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2
}

function svg_rect(class, x, y, width, height, title) {
    printf "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"2\">%s</rect>\n", \
        class, x, y, width, height, (title == "" ? "" : "<title>" escaped(title) "</title>")
}

function svg_text(class, x, y, words) {
    printf "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", class, x, y, escaped(words)
}

# A mark of a soil: a shape of its own, for those who do not see its colour.
function mark(kind, x, y, title,    shape) {
    if (kind == "clay")
        shape = sprintf("rect x=\"%.1f\" y=\"%.1f\" width=\"6\" height=\"6\"", x - 3, y - 3)
    else if (kind == "sand")
        shape = sprintf("polygon points=\"%.1f,%.1f %.1f,%.1f %.1f,%.1f\"", x, y - 4, x + 4, y + 3, x - 4, y + 3)
    else
        shape = sprintf("circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.3\"", x, y)
    if (title == "") printf "<%s class=\"mark %s\"/>\n", shape, kind
    else {
        sub(/ /, " class=\"mark " kind "\" ", shape)
        printf "<%s><title>%s</title></%s>\n", shape, escaped(title), substr(shape, 1, index(shape, " ") - 1)
    }
}

# The distance of ticks for about so many of them: 1, 2 or 5 times a power of ten.
function tick_distance(range, many,    power, ratio) {
    power = 1
    while (power * 10 <= range / many) power *= 10
    while (power > range / many) power /= 10
    ratio = range / many / power
    return power * (ratio < 1.5 ? 1 : ratio < 3.5 ? 2 : ratio < 7.5 ? 5 : 10)
}

# Sets scale, low, high and tick of one axis ("x" or "y") so that all values
# from `from` to `to` lie between `start` and `end` on the canvas.
function axis(name, from, to, many, start, end) {
    if (to <= from) to = from + 1
    tick[name] = tick_distance(to - from, many)
    low[name] = floor(from / tick[name]) * tick[name]
    high[name] = -floor(-to / tick[name]) * tick[name]
    canvas[name] = start
    scale[name] = (end - start) / (high[name] - low[name])
}

function floor(number,    whole) {
    whole = int(number)
    return whole > number ? whole - 1 : whole
}

function at(name, value) {
    return canvas[name] + (value - low[name]) * scale[name]
}

function tick_label(name, value) {
    return tick[name] < 1 ? fixed(value, 1) : fixed(value, 0)
}

# Grid and numbers of the axes that are set.
function grid(x_title, y_title,    i, value, count) {
    count = int((high["x"] - low["x"]) / tick["x"] + 0.5)
    for (i = 0; i <= count; i++) {
        value = low["x"] + i * tick["x"]
        svg_line("grid", at("x", value), at("y", low["y"]), at("x", value), at("y", high["y"]))
        svg_text("tick middle", at("x", value), at("y", low["y"]) + 15, tick_label("x", value))
    }
    count = int((high["y"] - low["y"]) / tick["y"] + 0.5)
    for (i = 0; i <= count; i++) {
        value = low["y"] + i * tick["y"]
        svg_line("grid", at("x", low["x"]), at("y", value), at("x", high["x"]), at("y", value))
        svg_text("tick end", at("x", low["x"]) - 5, at("y", value) + 4, tick_label("y", value))
    }
    svg_text("axis end", at("x", high["x"]), at("y", low["y"]) + 30, x_title)
    svg_text("axis", at("x", low["x"]) - 28, at("y", high["y"]) - 9, y_title)
}

# Where all the rows went, as one bar with a legend below.
function flow_chart(    total, x) {
    total = fact["ingest", "harvests"]
    svg(680, 54, "What became of " total " harvests")
    parts = 0
    x = flow_part("learn", 0, fact["split", "train"], total, "to learn from")
    x = flow_part("judge", x, fact["split", "test"], total, "to be judged by")
    if (fact["split", "left_out"]) x = flow_part("later", x, fact["split", "left_out"], total, "of later seasons")
    if (fact["validate", "rejected"]) flow_part("reject", x, fact["validate", "rejected"], total, "rejected")
    print "</svg>"
}

function flow_part(class, x, many, total, words,    width, legend_x) {
    width = 680 * many / total
    legend_x = 165 * parts++
    svg_rect(class, x, 0, larger(width - 2, 1), 26, many " harvests " words)
    svg_rect(class, legend_x, 39, 10, 10, "")
    svg_text("label", legend_x + 16, 49, many " " words)
    return x + width
}

# Two bars for each model: the error in cross-validation and that of the season.
function error_chart(    i, m, y, most) {
    for (i = 1; i <= models; i++) most = larger(most, larger(cv[model[i]], rmse[model[i]]))
    svg(680, models * 68, "Errors of the models")
    for (i = 1; i <= models; i++) {
        m = model[i]
        y = (i - 1) * 68
        svg_text("label strong", 0, y + 13, label[m])
        bar("rank" i, y + 20, rmse[m], most, "in " test, label[m] ", " test ": RMSE " fixed(rmse[m], 3) " t/ha")
        bar("rank" i " faint", y + 40, cv[m], most, "in cross-validation", \
            label[m] ", cross-validation: RMSE " fixed(cv[m], 3) " t/ha")
    }
    print "</svg>"
}

function bar(class, y, value, most, words, title,    width) {
    width = 500 * value / most
    svg_rect(class, 0, y, width, 16, title)
    svg_text("tick", width + 6, y + 12.5, fixed(value, 2) " " words)
}

# What a model said against what came in. On the diagonal it was right.
function prediction_chart(m, rank, from, to,    i) {
    svg(240, 246, "Predicted against actual yields, " label[m])
    axis("x", from, to, 4, 30, 228)
    axis("y", from, to, 4, 208, 22)
    grid("actual t/ha", "predicted t/ha")
    svg_line("ideal", at("x", low["x"]), at("y", low["y"]), at("x", high["x"]), at("y", high["y"]))
    for (i = 1; i <= rows; i++)
        printf "<circle class=\"dot rank%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.8\"><title>%s</title></circle>\n", rank, \
            at("x", actual[i]), at("y", predicted[m, i]), escaped(field[i] ", " soil[i] ": predicted " \
            fixed(predicted[m, i], 2) ", actual " fixed(actual[i], 2) " t/ha")
    print "</svg>"
}

# Yield over rain of all harvests that models learned from, and what a model
# drew through them, where it left a curve.
function rain_chart(    i, from_x, to_x, from_y, to_y) {
    from_x = to_x = seen_rain[1]
    from_y = to_y = seen_yield[1]
    for (i = 2; i <= seen; i++) {
        from_x = smaller(from_x, seen_rain[i]); to_x = larger(to_x, seen_rain[i])
        from_y = smaller(from_y, seen_yield[i]); to_y = larger(to_y, seen_yield[i])
    }
    svg(680, 360, "Yield over rain by soil")
    axis("x", from_x, to_x, 8, 34, 666)
    axis("y", from_y, to_y, 6, 320, 42)
    grid("rain, mm", "yield, t/ha")
    for (i = 1; i <= seen; i++)
        mark(seen_soil[i], at("x", seen_rain[i]), at("y", seen_yield[i]), seen_field[i] ", " seen_soil[i] ", " \
            seen_season[i] ": " seen_rain[i] " mm, " fixed(seen_yield[i], 2) " t/ha")
    legend(300, 14, curves())
    print "</svg>"
}

# Whether there are any.
function curves(    i, n, kinds, file, points, part, found) {
    n = split("clay loam sand", kinds, " ")
    file = out "/linear.curve"
    while ((getline record < file) > 0) {
        split(record, part, ",")
        points[part[1]] = points[part[1]] sprintf("%.1f,%.1f ", at("x", part[2]), at("y", part[3]))
    }
    close(file)
    for (i = 1; i <= n; i++) {
        if (!(kinds[i] in points)) continue
        printf "<polyline class=\"curve %s\" points=\"%s\"/>\n", kinds[i], points[kinds[i]]
        found = 1
    }
    return found
}

function legend(x, y, with_curve,    i, n, kinds) {
    n = split("clay loam sand", kinds, " ")
    for (i = 1; i <= n; i++) {
        mark(kinds[i], x + 80 * (i - 1), y - 4, "")
        svg_text("label", x + 80 * (i - 1) + 9, y, kinds[i])
    }
    if (!with_curve) return
    svg_line("curve", x + 240, y - 4, x + 262, y - 4)
    svg_text("label", x + 268, y, "linear regression")
}
