"""Passwords in the addresses of remotes: kept out of the words of every command, and handed to git where only its user reads.

Whoever has an account on a machine can read the words of its processes, and git starts one with the address of a remote
among them. What stands in the environment of a process is for its own user.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from urllib.parse import unquote

from msgspec import Struct

# As far as the last of them: whatever is a mistake in it may be a part of a password.
_USER_INFO = re.compile(r"(?P<scheme>https?)://(?P<who>[^/?#\s\\]*)@(?P<host>[^/?#\s\\]*)", re.IGNORECASE)
_RULE = re.compile(r"url\.(?P<base>.*)\.(?P<kind>insteadof|pushinsteadof)", re.DOTALL)
_USER, _PASSWORD = "RECONCILE_GIT_USER_", "RECONCILE_GIT_PASSWORD_"
# The shell knows `printf` itself: no process is started with a password among its words.
_HELPER = '!f() {{ test "$1" != get || printf \'username=%s\\npassword=%s\\n\' "${user}" "${password}"; }}; f'


class UrlLogin(Struct, frozen=True):
    """What an address says of who one is: at `origin`, scheme and host. `password`: None where it holds a name alone."""

    origin: str
    user: str
    password: str | None


More = tuple[tuple[tuple[str, str], ...], tuple[UrlLogin, ...]]
"""Settings for git, without passwords, and the logins that belong to what they name."""
NOTHING_MORE: More = ((), ())


def without(text: str) -> str:
    """Text with no password in any address that it holds.

    >>> without("url.https://x-access-token:SECRET@github.com/.insteadof")
    'url.https://github.com/.insteadof'
    """
    return _USER_INFO.sub(lambda found: f"{found['scheme']}://{found['host']}", text)


def of(text: str) -> UrlLogin | None:
    """Who the first address in a text says that one is; None where it says nothing.

    >>> of("https://ann:s%40cret@example.com/a.git")
    UrlLogin(origin='https://example.com', user='ann', password='s@cret')
    """
    found = _USER_INFO.search(text)
    if found is None:
        return None
    user, colon, password = found["who"].partition(":")
    known = UrlLogin(
        f"{found['scheme'].lower()}://{found['host']}", unquote(user), unquote(password) if colon else None
    )
    return known if "\n" not in f"{known.user}{known.password}" else None


def environment(logins: Iterable[UrlLogin], settings: Sequence[tuple[str, str]] = ()) -> dict[str, str]:
    """The variables by which git, and what it starts, log in at these places; with more settings for it.

    Of several logins at one place the first counts. What is set up otherwise for such a place is not asked.
    """
    first: dict[str, UrlLogin] = {}
    for login in logins:
        first.setdefault(login.origin, login)
    values: dict[str, str] = {}
    pairs = list(settings)
    for n, (origin, login) in enumerate(first.items()):
        if login.password is None:
            pairs.append((f"credential.{origin}.username", login.user))
            continue
        user, password = f"{_USER}{n}", f"{_PASSWORD}{n}"
        values |= {user: login.user, password: login.password}
        pairs += [
            (f"credential.{origin}.helper", ""),
            (f"credential.{origin}.helper", _HELPER.format(user=user, password=password)),
            (f"http.{origin}.proactiveAuth", "basic"),  # as git does where the address says it; 2.46 and later
        ]
    for n, (key, value) in enumerate(pairs):
        values |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return {**values, "GIT_CONFIG_COUNT": str(len(pairs))} if pairs else {}


def rewritten(url: str, config: Iterable[tuple[str, str | None]], *, push: bool = False) -> str:
    """An address as git has it in the end, by what its config says (`url.*.insteadOf`).

    >>> rewritten("gh:a/b", [("url.https://github.com/.insteadof", "gh:"), ("url.git@github.com:.pushinsteadof", "gh:")])
    'https://github.com/a/b'
    """
    rules = [
        (found["kind"], value, found["base"]) for key, value in config if value and (found := _RULE.fullmatch(key))
    ]
    for kind in ("pushinsteadof", "insteadof") if push else ("insteadof",):
        fitting = [(value, base) for found, value, base in rules if found == kind and url.startswith(value)]
        if fitting:
            longest, base = max(fitting, key=lambda each: len(each[0]))
            return base + url.removeprefix(longest)
    return url


def reaching(
    url: str, own: Sequence[tuple[str, str | None]], others: Sequence[tuple[str, str | None]], *, push: bool
) -> tuple[tuple[UrlLogin, ...], tuple[tuple[str, str], ...]]:
    """Who to be for a remote, and the settings with which git goes to it by an address without a password.

    `own`: the repository's config, which git is given without passwords; `others`: what the user's own says, as it is.
    """
    final = rewritten(url, (*own, *others), push=push)
    login = of(final)
    if login is None:
        return (), ()
    # The whole address is longer than what any rule of the user's replaces, and so it is this one that counts.
    kept, there = without(url), without(final)
    return (login,), ((f"url.{there}.insteadOf", kept), (f"url.{there}.pushInsteadOf", kept))


def held(config: Iterable[tuple[str, str | None]]) -> tuple[UrlLogin, ...]:
    """The logins that stand in a config."""
    return tuple(login for pair in config for text in pair if text and (login := of(text)))
