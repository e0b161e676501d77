# An agent that takes its time: it notes at once, in a file that it does not commit, who works on the page.
set -eu
read -r page < "$RECONCILE_PROMPT"
echo "<p>attempt $RECONCILE_ATTEMPT on ${SLURMD_NODENAME:-this machine}</p>" >> "$page.draft"
sleep "$PACE"
mv "$page.draft" "$page"
git add -- "$page"
git commit --quiet --message "Write $page"
