"""Which files of a repository are part of its manifest, and so a person's to change."""

from __future__ import annotations

import pytest
import worlds

from reconciler.model.agent_spec import AgentSpec
from reconciler.model.desired import MergePolicy
from reconciler.model.review_by_risk import Review, ReviewByRisk
from reconciler.planning.own_files import own_files

READ = MergePolicy(review=ReviewByRisk.always(Review.AGENT))


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (("sh", "tools/review.sh"), {"tools/review.sh"}),
        (("./Review",), {"review"}),
        (("python3", "-m", "tools.review"), {"tools/review.py", "tools/review/__main__.py"}),
        (("sh", "-c", "cat x.py; exec python tools/a.py"), {"tools/a.py"}),
        (("sh", "-c", "if grep -q x a.py; then echo y > b.py; fi\ngit add . && git diff -- src/c.py"), set()),
        (("sh", "-c", "cd tools && timeout 9 bash -e x.sh y.py"), {"tools/x.sh"}),
        (("sh", "-c", "/usr/bin/python3 -B tools/a.py b.py"), {"tools/a.py"}),
        (("sh", "-c", "sh -c 'exec tools/x'"), {"tools/x"}),
        (("reviewer", "--rules", "docs/rules.md"), {"docs/rules.md"}),
        (("/repo/tools/review.sh",), {"tools/review.sh"}),
        (("sh", "-c", "sh /repo/tools/review.sh"), {"tools/review.sh"}),
        (("../../../repo/tools/review.sh",), {"tools/review.sh"}),
        (("npm", "run", "review"), {"package.json", ".npmrc"}),
        (("/usr/local/bin/reviewer", "--model", "x"), set()),
    ],
)
def test_what_the_command_line_of_a_reviewer_names(argv: tuple[str, ...], found: set[str]) -> None:
    spec = worlds.an_epic(merge=READ, reviewer=AgentSpec(argv=argv))

    assert own_files(spec) - {""} == found
    assert not own_files(worlds.an_epic(reviewer=AgentSpec(argv=argv))), "nobody asks it"
