# No draft lands, and every page says who wrote it.
set -eu
for page in ./*.html; do
    [ ! -e "$page" ] || grep -q '<p>attempt' "$page"
done
[ -z "$(git ls-files '*.draft')" ]
