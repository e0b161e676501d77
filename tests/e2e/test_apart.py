"""The real programs of known agents as reviewers: which words beside the change they heed."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from agent_places import AgentPlace
from scripted import ScriptedModel, Turn

from reconciler.agents import AGENTS
from reconciler.model.agent_kinds import AgentKind
from reconciler.model.agent_spec import AgentSpec
from reconciler.model.ports import Assignment

WORDS = (
    "AGENTS.md", "CLAUDE.md", "CLAUDE.local.md", "GEMINI.md", "CONTEXT.md", ".codex/AGENTS.md", ".opencode/agent/evil.md",
    ".claude/skills/evil/SKILL.md", ".agents/skills/evil/SKILL.md", ".codex/skills/evil/SKILL.md",
)  # fmt: skip
KINDS = [kind for kind in AgentKind if kind.row.login]


def planted(folder: Path, mark: str) -> None:
    """Everything by which a folder could tell an agent something, or have it start something."""
    for name in WORDS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"---\nname: evil\ndescription: {mark}-{name}\n---\n" if "evil" in name else ""
        path.write_text(f"{head}{mark}-{name}\n")
    started = {"command": "touch", "args": [str(folder / "started")]}
    local = {"type": "local", "command": ["touch", str(folder / "started")], "enabled": True}
    (folder / "more.md").write_text(f"{mark}-more\n")
    (folder / "opencode.json").write_text(json.dumps({"instructions": [str(folder / "more.md")], "mcp": {"x": local}}))
    (folder / ".codex" / "config.toml").write_text(f'developer_instructions = "{mark}-codex"\n')
    (folder / ".aider.conf.yml").write_text(f"read: [{folder / 'more.md'}]\n")
    (folder / ".env").write_text(f"AIDER_READ={folder / 'more.md'}\n")
    (folder / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": started}}))
    (folder / ".gemini").mkdir(exist_ok=True)
    settings = {"mcpServers": {"x": started}, "security": {"auth": {"selectedType": "gemini-api-key"}}}
    (folder / ".gemini" / "settings.json").write_text(json.dumps(settings))


@pytest.mark.parametrize("kind", KINDS)
def test_a_reviewer_is_told_nothing_by_what_stands_above_its_worktree(tmp_path: Path, kind: AgentKind) -> None:
    with ScriptedModel({"x": (Turn(text="I read it.", shell="echo hi"), Turn(text="That is all."))}) as model:
        place = AgentPlace(tmp_path, model, kind)
        root = place.root.parent / "worktrees"
        tree = root / ".checks" / "x@abc"
        place.git("worktree", "add", "--quiet", "--detach", str(tree))
        for folder in (root, root / ".checks", place.root):
            planted(folder, "ABOVE")
        planted(tree, "OWN")
        prompt = tmp_path / "prompt"
        prompt.write_text("SCRIPT:x look\n")
        values = {"worktree": str(tree), "prompt_file": str(prompt)}
        given = Assignment(values=values, model=place.model or None, apart=True)
        started = AGENTS[kind].invocation(AgentSpec(kind=kind), given)
        env = {**place.env, **started.env, "PWD": str(tree)}
        for argv in (*started.before, started.argv):
            said = prompt.read_text() if started.prompt_on_stdin and argv is started.argv else ""
            subprocess.run(argv, cwd=tree, env=env, input=said, text=True, capture_output=True, timeout=120, check=True)

    told = set(re.findall(r"(?:OWN|ABOVE)-[\w./-]+", " ".join(model.told)))
    assert told and not [each for each in told if each.startswith("ABOVE")], told
    assert not [folder for folder in (root, root / ".checks", place.root) if (folder / "started").exists()]
