"""A bare repository: its refs, and the commits that GitHub makes in it. Knows git, not pull requests."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOBODY = "0" * 40
_READ = ("how much of what was pushed is read",)
# Written by every push, read by the server in this order: a branch that was merged, then deleted, was merged.
NOTE_PUSHES = '#!/bin/sh\ncat >> "$GIT_DIR/pushed"\n'
# With `no-workflows` the login lacks the scope to push changes of them.
# `secret` holds what no commit that is pushed may add: push protection, in GitHub's words.
# `refused` holds "<ref> ,<sha that may be pushed>,…, <GH006, GH013, another code> <why no other may>" lines.
REFUSE_PUSHES = """\
#!/bin/sh
[ -s "$GIT_DIR/refused" ] || [ -s "$GIT_DIR/secret" ] || [ -e "$GIT_DIR/no-workflows" ] || exit 0
while read -r old new ref; do
    [ "$new" = "${new#0000000}" ] && [ -s "$GIT_DIR/secret" ] &&
        for commit in $(git rev-list "$new" --not --all); do
            git show --format= "$commit" | grep -q "^+.*$(cat "$GIT_DIR/secret")" || continue
            printf 'error: GH013: Repository rule violations found for %s.\\n\\n' "$ref"
            printf -- '- GITHUB PUSH PROTECTION\\n  ---------------------------\\n'
            printf '    Resolve the following violations before pushing again\\n\\n    - Push cannot contain secrets\\n\\n'
            printf '      -- Amazon AWS Access Key ID ---------------\\n       locations:\\n         - commit: %s\\n' "$commit"
            printf '           path: %s:1\\n' "$(git show --format= --name-only "$commit" | head -n 1)"
            exit 1
        done >&2
    if [ -e "$GIT_DIR/no-workflows" ] && git rev-list "$new" --not --all -- .github/workflows | grep -q .; then
        printf 'refusing to allow an OAuth App to create or update workflow `.github/workflows/ci.yml` without `workflow` scope\\n' >&2
        exit 1
    fi
    [ -s "$GIT_DIR/refused" ] || continue
    while read -r protected allowed code message; do
        [ "$ref" = "$protected" ] || continue
        case "$allowed" in *",$new,"*) continue ;; esac
        case "$code" in
        GH006) what='Protected branch update failed' ;;
        GH013) what='Repository rule violations found' ;;
        *) printf 'error: %s: %s\\n' "$code" "$message" >&2; exit 1 ;;
        esac
        printf 'error: %s: %s for %s.\\n\\n- %s\\n' "$code" "$what" "$ref" "$message" >&2
        exit 1
    done < "$GIT_DIR/refused"
done
"""


@dataclass(frozen=True)
class Person:
    """Who stands in a commit."""

    name: str
    email: str


GITHUB = Person("GitHub", "noreply@github.com")


@dataclass(frozen=True)
class Commit:
    """One commit, read from git. Dates are ISO 8601 with a zone."""

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: Person
    authored: str
    committer: Person
    committed: str
    message: str

    @property
    def headline(self) -> str:
        """The first line."""
        return self.message.partition("\n")[0]

    @property
    def body(self) -> str:
        """What follows the first line and the empty one."""
        return self.message.partition("\n")[2].strip("\n")


class Refused(Exception):
    """Git said no."""


@dataclass(frozen=True)
class Bare:
    """Git in one bare repository, with nobody's settings. What can't change, as it hangs on commits, is asked once."""

    path: Path
    _known: dict[tuple[str, ...], Any] = field(default_factory=dict, compare=False)

    @classmethod
    def make(cls, path: Path, *, copy_of: Path | None = None) -> Bare:
        """A new repository, empty or a full copy, with the hooks that tell the server what was pushed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        how = ["clone", "--no-hardlinks"] if copy_of else ["init", "--initial-branch=main"]
        places = [str(place) for place in (copy_of, path) if place]
        subprocess.run(["git", *how, "--quiet", "--bare", "--", *places], check=True, env=_environ({}))
        made = cls(path)
        for key, value in (
            ("receive.advertisePushOptions", "true"),
            ("gc.auto", "0"),
            ("core.logAllRefUpdates", "true"),
        ):
            made.git("config", key, value)
        for name, text in (("post-receive", NOTE_PUSHES), ("pre-receive", REFUSE_PUSHES)):
            hook = path / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(text)
            hook.chmod(0o755)
        return made

    def git(self, *args: str, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
        """What git prints, without the last newline. Raises Refused."""
        ran = self.ran(*args, env=env, stdin=stdin)
        if ran.returncode:
            raise Refused(f"git {' '.join(args)}: {ran.stderr.strip()}")
        return ran.stdout.removesuffix("\n")

    def ran(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Git's answer, whatever it is."""
        return subprocess.run(
            ["git", f"--git-dir={self.path}", *args],
            env=_environ(env or {}),
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",
        )

    # --- refs ---------------------------------------------------------------------------------------------

    def heads(self) -> dict[str, str]:
        """Every branch and its commit."""
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname:lstrip=2)", "refs/heads/").splitlines()
        return {name: sha for sha, _, name in (line.partition(" ") for line in lines)}

    def update(self, ref: str, new: str, old: str | None = None) -> None:
        """Move, make (`old` is NOBODY) or delete (`new` is NOBODY) a ref by compare-and-swap. Raises Refused."""
        self.git("update-ref", *(("-d", ref) if new == NOBODY else (ref, new)), *((old,) if old is not None else ()))

    def note(self, name: str, text: str) -> None:
        """Write something down for the hooks, which may read at any moment."""
        new = (
            self.path / f"{name}.{threading.get_ident()}.new"
        )  # a test may change the rules while a request is answered
        new.write_text(text)
        os.replace(new, self.path / name)

    def pushed(self) -> list[tuple[str, str]]:
        """What was pushed since the last call, in order: ref and new sha."""
        log = self.path / "pushed"
        told = log.read_text() if log.exists() else ""
        whole = told[: told.rfind("\n") + 1]
        new = whole[self._known.get(_READ, 0) :]
        self._known[_READ] = len(whole)
        rows = [line.split(" ", 2) for line in new.splitlines()]
        return [(ref, sha) for _, sha, ref in rows]

    # --- reading ------------------------------------------------------------------------------------------

    def resolve(self, name: str) -> str | None:
        """The commit that `name` names, if any."""
        ran = self.ran("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        return ran.stdout.strip() if ran.returncode == 0 else None

    def commit(self, sha: str) -> Commit:
        """One commit."""
        form = "%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B"
        told = self._once("show", "--no-patch", f"--format={form}", sha)
        _, tree, parents, name, email, at, who, address, then, message = told.split("\0", 9)
        author, committer = Person(name, email), Person(who, address)
        return Commit(sha, tree, tuple(parents.split()), author, at, committer, then, message.strip("\n"))

    def contains(self, commit: str, ancestor: str) -> bool:
        """True when `ancestor` is `commit` or one of its ancestors."""
        key = ("contains", commit, ancestor)
        if key not in self._known:
            self._known[key] = self.ran("merge-base", "--is-ancestor", ancestor, commit).returncode == 0
        return bool(self._known[key])

    def between(self, base: str, head: str) -> list[str]:
        """The commits of `head` that `base` lacks, oldest first, in the order in which GitHub lists them."""
        return self._once("rev-list", "--reverse", "--author-date-order", f"{base}..{head}").splitlines()

    def changes(self, base: str, head: str) -> list[tuple[str, int, int]]:
        """Path, added and deleted lines of every file that `head` changed since it left `base`."""
        rows = [line.split("\t", 2) for line in self._once("diff", "--numstat", f"{base}...{head}").splitlines()]
        return [(path, _count(added), _count(deleted)) for added, deleted, path in rows]

    def shown_lines(self, base: str, head: str) -> dict[str, set[int]]:
        """By path, the lines of `head` that the diff of what it changed since it left `base` shows."""
        found: dict[str, set[int]] = {}
        path = ""
        for line in self._once("diff", "--no-prefix", f"{base}...{head}").splitlines():
            if line.startswith("+++ "):
                path = line.removeprefix("+++ ")
            elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
                first, many = int(hunk[1]), int(hunk[2] or 1)
                found.setdefault(path, set()).update(range(first, first + many))
        return found

    def merged_tree(self, ours: str, theirs: str) -> str | None:
        """The tree of merging the two; None when they conflict."""
        ran = self.ran("merge-tree", "--write-tree", ours, theirs)
        if ran.returncode > 1:
            raise Refused(ran.stderr)
        return ran.stdout.splitlines()[0] if ran.returncode == 0 else None

    def _once(self, *args: str) -> str:
        if args not in self._known:
            self._known[args] = self.git(*args)
        return str(self._known[args])

    # --- writing ------------------------------------------------------------------------------------------

    def write(
        self, tree: str, parents: tuple[str, ...], message: str, author: Person, committer: Person, at: str
    ) -> str:
        """A commit; its sha. `at` is the author's date, or empty for now."""
        env = {
            "GIT_AUTHOR_NAME": author.name,
            "GIT_AUTHOR_EMAIL": author.email,
            "GIT_COMMITTER_NAME": committer.name,
            "GIT_COMMITTER_EMAIL": committer.email,
            **({"GIT_AUTHOR_DATE": at} if at else {}),
        }
        names = [part for parent in parents for part in ("-p", parent)]
        return self.git("commit-tree", tree, *names, "-F", "-", env=env, stdin=message)

    def rebased(self, commits: list[str], onto: str, committer: Person) -> str | None:
        """The tip of `commits` written anew on top of `onto`, without merge commits; None when one conflicts."""
        for sha in commits:
            old = self.commit(sha)
            if len(old.parents) > 1:
                continue
            # Git 2.39 picks its merge base itself: a stand-in for `onto` that grew from the commit's own parent.
            stand_in = self.write(self.commit(onto).tree, old.parents[:1], "onto", GITHUB, GITHUB, "")
            tree = self.merged_tree(stand_in, sha)
            if tree is None:
                return None
            onto = self.write(tree, (onto,), old.message, old.author, committer, old.authored)
        return onto


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
    nobody = {"HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return {**kept, **nobody, **more}


def _count(number: str) -> int:
    return 0 if number == "-" else int(number)
