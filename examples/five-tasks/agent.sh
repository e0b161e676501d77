# An agent in ten lines: the first line of its prompt names a file; it writes and commits it.
set -eu
read -r file < "$RECONCILE_PROMPT"
case $file in
    index.txt) ls ./*.html > index.txt ;;
    layout.html) echo '<main></main>' > layout.html ;;
    *) sed "s/<main>/<main>${file%.html}/" layout.html > "$file" ;;
esac
git add -- "$file"
git commit --quiet --message "Write $file"
