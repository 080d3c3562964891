#!/bin/sh
# Writes what the run found, for people: a page for a browser, and the same as
# Markdown. Both hold nothing of this machine or this moment: the same data
# gives the same bytes.
#
# Leaves: report.html, report.md
set -eu
. steps/setup.sh
for file in ingest.facts validate.facts quality.tsv split.facts train.csv comparison.csv compared.csv compare.facts; do
    need "$file"
done

html=$FLAVOR_RUN_DIR/report.html
markdown=$FLAVOR_RUN_DIR/report.md
awk -f report/read.awk -f report/words.awk -f report/charts.awk -f report/page.awk >"$html"
awk -f report/read.awk -f report/words.awk -f report/text.awk >"$markdown"
echo "report: $html"
echo "as text: $markdown"
