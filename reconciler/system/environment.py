"""The environment that an agent gets: the caller's without what looks like a secret, plus what its manifest names.

Pure: environments come in and go out as mappings.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

_SECRET = re.compile(
    r"token|secret|passw|credential|cookie|auth|api_?key|private"
    r"|_key\Z"
    r"|\A(?:aws|gh|github|git|bd)_",
    re.IGNORECASE,
)
# Ours: a reconciler that an agent started must not pass that agent's run on as its own.
# And what a service manager says to the process that it started means no other.
_OURS = re.compile(r"RECONCILE_|OLDPWD\Z|PWD\Z|NOTIFY_SOCKET\Z|WATCHDOG_(?:USEC|PID)\Z|INVOCATION_ID\Z")
# What says on which terminal, in which session or by which service something was started, and nothing to a check.
_PLACE = re.compile(
    r"SHLVL\Z|_\Z|COLUMNS\Z|LINES\Z|COLORTERM\Z|LS_COLORS\Z|DISPLAY\Z|WAYLAND_DISPLAY\Z|SESSION_MANAGER\Z|STY\Z"
    r"|(?:TERM|DBUS|XDG|SSH|TMUX|VTE|WINDOW|DESKTOP|GPG_TTY|JOURNAL|SYSTEMD|MANAGERPID|MEMORY_PRESSURE)(?:_|\Z|ID\Z)"
    r"|(?:ALACRITTY|GNOME_TERMINAL|ITERM|KITTY|KONSOLE|VSCODE|WEZTERM|ZELLIJ)_|SECURITYSESSIONID\Z|LaunchInstanceID\Z"
)
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def looks_secret(name: str) -> bool:
    """True for the name of a variable whose value no agent gets unless its manifest passes it on.

    >>> [looks_secret(name) for name in ("GH_TOKEN", "my_password", "SSH_AUTH_SOCK", "PATH", "KEYBOARD")]
    [True, True, True, False, False]
    """
    return bool(_SECRET.search(name))


def scrubbed(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ` without names that look like secrets and without what belongs to the caller's own place.

    >>> scrubbed({"HOME": "/root", "AWS_REGION": "x", "RECONCILE_RUN": "work/a/1"})
    {'HOME': '/root'}
    """
    return {name: value for name, value in environ.items() if not looks_secret(name) and not _OURS.match(name)}


def fingerprint(environ: Mapping[str, str]) -> str:
    """What tells one environment from another, as far as it may matter to a check; no value can be read off it.

    >>> fingerprint({"LANG": "C", "TERM": "xterm", "XDG_SEAT": "1"}) == fingerprint({"LANG": "C", "SHLVL": "2"})
    True
    >>> fingerprint({"KITTY_WINDOW_ID": "1", "SSH_TTY": "/dev/pts/1"}) == fingerprint({"WINDOWID": "2", "_": "/bin/x"})
    True
    >>> fingerprint({"LANG": "C"}) == fingerprint({"LANG": "de"})
    False
    """
    kept = sorted(item for item in scrubbed(environ).items() if not _PLACE.match(item[0]))
    return hashlib.sha256(
        "\0".join(f"{name}={value}" for name, value in kept).encode(errors="surrogateescape")
    ).hexdigest()[:12]


def with_passed(environ: Mapping[str, str], env: Mapping[str, str], passed: Iterable[str]) -> dict[str, str]:
    """`environ` scrubbed, with the variables in `passed` kept as they are and those of `env` set.

    >>> with_passed({"A_TOKEN": "t", "B_TOKEN": "t"}, {"KEY": "value"}, ["A_TOKEN", "NOT_SET"])
    {'A_TOKEN': 't', 'KEY': 'value'}
    """
    kept = {name: environ[name] for name in passed if name in environ}
    return {**scrubbed(environ), **kept, **env}


def with_plain_git(env: Mapping[str, str], **settings: str) -> dict[str, str]:
    """`env` with which git shows what was committed, and nothing that was put in its place; with more settings for it.

    >>> with_plain_git({"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b"}, core_fsmonitor="false")
    ... # doctest: +NORMALIZE_WHITESPACE
    {'GIT_CONFIG_COUNT': '2', 'GIT_CONFIG_KEY_0': 'a.b', 'GIT_NO_REPLACE_OBJECTS': '1',
     'GIT_CONFIG_KEY_1': 'core.fsmonitor', 'GIT_CONFIG_VALUE_1': 'false'}
    """
    first = int(count) if (count := env.get("GIT_CONFIG_COUNT", "")).isdecimal() else 0
    made = {**env, "GIT_NO_REPLACE_OBJECTS": "1", "GIT_CONFIG_COUNT": str(first + len(settings))}
    for n, (key, value) in enumerate(settings.items(), first):
        made |= {f"GIT_CONFIG_KEY_{n}": key.replace("_", ".", 1), f"GIT_CONFIG_VALUE_{n}": value}
    return made


def path_with(path: str | None, folder: str) -> str:
    """A search path that also holds `folder`: last, so that it hides no program of the user's.

    >>> path_with("/usr/bin:/bin", "/opt/reconcile/bin"), path_with("/usr/bin:/bin", "/bin")
    ('/usr/bin:/bin:/opt/reconcile/bin', '/usr/bin:/bin')
    """
    folders = (path or _DEFAULT_PATH).split(":")
    return ":".join(folders if folder in folders else [*folders, folder])
