# Every page is laid out, and whatever is listed exists.
set -eu
for page in ./*.html; do
    [ ! -e "$page" ] || grep -q '</main>' "$page"
done
[ ! -e index.txt ] || while read -r page; do [ -e "$page" ]; done < index.txt
