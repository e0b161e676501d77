"""A GitHub on this machine, for real `gh` and real `git`: no network, no port, no privileges.

    with GitHub() as hub:
        app = hub.repository("acme/app")
        subprocess.run(["git", "clone", "git@github.com:acme/app.git"], env={**os.environ, **hub.env})

Branches live in git and are read there; pull requests, reviews, checks and rules live in the server's memory. What can go
wrong on the way is in `faults`. `tests/github/fields.txt` says what of GitHub's GraphQL is there.
"""

from github import faults
from github.repository import Repository
from github.server import GitHub

__all__ = ["GitHub", "Repository", "faults"]
