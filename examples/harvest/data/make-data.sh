#!/bin/sh
# Makes fields.csv and harvests.csv: invented farms, honest about it.
#
#     sh make-data.sh [DIRECTORY]     default: the directory of this script
#
# The same on every machine: random numbers come from a generator below, and
# nothing is used that C libraries compute differently (no exp, log, cos).
set -eu
LC_ALL=C
export LC_ALL

case $# in
0) target=$(dirname "$0") ;;
1) target=$1 ;;
*)
    echo "usage: sh make-data.sh [DIRECTORY]" >&2
    exit 2
    ;;
esac
if [ ! -d "$target" ]; then
    echo "make-data.sh: $target is not a directory" >&2
    exit 2
fi

TARGET=$target awk '
# The minimal standard generator of Park and Miller. All products stay below
# 2^53, so doubles hold them exactly.
function uniform() {
    state = (state * 16807) % 2147483647
    return state / 2147483647
}

# Nearly normal, mean 0, deviation 1: the sum of twelve uniform numbers.
function normal(    i, sum) {
    sum = -6
    for (i = 0; i < 12; i++) sum += uniform()
    return sum
}

function clamp(x, low, high) {
    return x < low ? low : x > high ? high : x
}

# Tonnes per hectare. Too little rain costs more than too much, sand dries out
# first, nitrogen saturates, and late sowing loses days of growth.
function yield_of(field, rain, nitrogen, delay,    lack, sum) {
    lack = best_rain[soil[field]] - rain
    sum = base[soil[field]] + quality[field]
    sum -= (lack > 0 ? 0.00006 : 0.00003) * lack * lack
    sum += 4.2 * nitrogen / (nitrogen + 70)
    sum -= delay > 10 ? 0.02 * (delay - 10) : 0
    return clamp(sum + 0.35 * normal(), 0.8, 14)
}

function mark(list, what,    i, n, rows) {
    n = split(list, rows, " ")
    for (i = 1; i <= n; i++) damage[rows[i]] = what
}

BEGIN {
    state = 20240815
    fields = 72
    base["clay"] = 6.1; base["loam"] = 6.6; base["sand"] = 5.4
    best_rain["clay"] = 410; best_rain["loam"] = 430; best_rain["sand"] = 470
    first_season = 2019
    seasons = split("405 300 455 350 510 330", mean_rain, " ")

    # The dirt, as it comes in such files. Numbers are harvests in the order in
    # which they are made.
    mark("23 151 238 377", "no yield")
    mark("64 199 310", "rain n/a")
    mark("88 402", "nitrogen -999")
    mark("45 176 291", "yield in decitonnes")
    mark("130 355", "column lost")
    mark("112 267 420", "entered twice")
    mark("205", "year mistyped")
    mark("16 341", "field unknown")
    mark("7 31 97 142 183 222 255 300 333 390 411", "untidy")

    file = ENVIRON["TARGET"] "/fields.csv"
    print "field,soil,hectares" > file
    for (f = 1; f <= fields; f++) {
        draw = uniform()
        soil[f] = draw < 0.4 ? "loam" : draw < 0.7 ? "clay" : "sand"
        quality[f] = 0.25 * normal()
        habit[f] = clamp(150 + 40 * normal(), 50, 240)
        name[f] = sprintf("F%02d", f)
        printf "%s,%s,%.1f\n", name[f], soil[f], 4 + 21 * uniform() > file
    }
    close(file)

    file = ENVIRON["TARGET"] "/harvests.csv"
    print "field,season,sowing_delay_days,rain_mm,nitrogen_kg_ha,yield_t_ha" > file
    for (s = 1; s <= seasons; s++) {
        for (f = 1; f <= fields; f++) {
            rain = sprintf("%d", clamp(mean_rain[s] + 35 * normal(), 180, 680))
            nitrogen = sprintf("%d", clamp(habit[f] + 25 * normal(), 20, 280))
            delay = sprintf("%d", clamp(14 + 10 * normal(), 0, 45))
            tonnes = sprintf("%.2f", yield_of(f, rain, nitrogen, delay))
            season = first_season + s - 1
            id = name[f]
            what = damage[++number]
            again = ""
            if (what == "no yield") tonnes = ""
            if (what == "rain n/a") rain = "n/a"
            if (what == "nitrogen -999") nitrogen = -999
            if (what == "yield in decitonnes") tonnes = sprintf("%.1f", tonnes * 10)
            if (what == "year mistyped") season = 2091
            if (what == "field unknown") id = "F99"
            if (what == "untidy") id = " " tolower(id) " "
            row = id "," season "," delay "," rain "," nitrogen "," tonnes
            if (what == "column lost") row = id "," season "," rain "," nitrogen "," tonnes
            if (what == "entered twice") {
                again = sprintf("%s,%s,%s,%s,%s,%.2f", id, season, delay, rain, nitrogen, tonnes + 0.4)
            }
            print row > file
            if (again != "") print again > file
        }
    }
    close(file)
}
'
