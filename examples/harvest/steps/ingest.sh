#!/bin/sh
# Reads the two files of the farms and tidies what has one meaning only: blanks
# around values, field names in small letters. Judges nothing.
#
# Leaves: fields.csv; harvests.csv, each row led by its line in the file it
# came from; ingest.facts
set -eu
. steps/setup.sh

for file in data/fields.csv data/harvests.csv; do
    [ -r "$file" ] || fail "$file cannot be read"
done

awk '
function die(message) {
    print "error: " message > "/dev/stderr"
    exit failed = 1
}

function trim(text) {
    gsub(/^[ \t\r]+|[ \t\r]+$/, "", text)
    return text
}

BEGIN {
    FS = ","
    out = ENVIRON["FLAVOR_RUN_DIR"]
    header["data/fields.csv"] = "field,soil,hectares"
    header["data/harvests.csv"] = "field,season,sowing_delay_days,rain_mm,nitrogen_kg_ha,yield_t_ha"
}

FNR == 1 {
    sub(/\r$/, "")
    if ($0 != header[FILENAME])
        die(FILENAME ": line 1: the columns are `" $0 "`, expected `" header[FILENAME] "`")
    next
}

/^[ \t\r]*$/ { next }

{
    row = toupper(trim($1))
    for (i = 2; i <= NF; i++) row = row "," trim($i)
    if (row != $0) tidied++
}

FILENAME == "data/fields.csv" {
    fields++
    print row > (out "/fields.csv")
    next
}

{
    harvests++
    print FNR "," row > (out "/harvests.csv")
}

END {
    if (failed) exit 1
    if (!fields || !harvests) die("the data files have no rows")
    facts = out "/ingest.facts"
    print "fields\t" fields > facts
    print "harvests\t" harvests > facts
    print "tidied\t" tidied + 0 > facts
    print fields " fields and " harvests " harvests read, " tidied + 0 " rows tidied"
}
' data/fields.csv data/harvests.csv
