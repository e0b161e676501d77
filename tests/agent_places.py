"""A stranger's repository on a machine where an agent's real program is installed, and knows no model but a scripted one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from outside import outside
from scripted import ScriptedModel
from strangers import Place
from waiting import until

SECRET = "sk-ant-scripted-secret"
NOWHERE = "http://127.0.0.1:9"  # where nobody listens: whatever is not meant for the model goes there


class AgentPlace(Place):
    """The repository, and `reconcile` in it. `kind` is the agent's, and the name under which its program is found."""

    def __init__(self, folder: Path, model: ScriptedModel, kind: str) -> None:
        super().__init__(folder)
        self.kind, self.model = kind, ""
        self.home = folder / "home"
        self.home.mkdir()
        program = outside(kind)
        self.env |= {
            "PATH": f"{program.parent}{os.pathsep}{self.env['PATH']}",
            "HOME": str(self.home),
            "HTTPS_PROXY": NOWHERE,
            "HTTP_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }
        getattr(self, f"_{kind}")(model.url)

    def wants(self, script: str, **spec: object) -> Path:
        """A manifest with one task, for which the model follows a script."""
        agent = {"kind": self.kind, "backoff": {"initial": "1s", "max": "1s"}, **dict(spec.pop("agent", {}))}
        document = {
            "apiVersion": "reconcile/v1",
            "kind": "Epic",
            "metadata": {"name": "work"},
            "spec": {
                "repository": "project",
                "tasks": [{"key": "a", "title": "Do a", "description": f"SCRIPT:{script}"}],
                "agent": {**({"model": self.model} if self.model else {}), **agent},
                "mergePolicy": {"checks": ["test -e work.txt"]},
                **spec,
            },
        }
        path = self.root.parent / "epic.yaml"
        path.write_text(json.dumps(document))
        return path

    def task(self) -> dict:
        return self.json("describe", self.id)

    @property
    def id(self) -> str:
        return self.tasks()["Do a"]["id"]

    def run_folder(self, n: int = 1) -> Path:
        return self.root / ".git" / "reconcile" / "runs" / "work" / self.id / str(n)

    def told(self, n: int, name: str) -> dict:
        """A file of a run's folder."""
        return json.loads((self.run_folder(n) / f"{name}.json").read_text())

    def ended(self, n: int = 1) -> dict:
        """What is kept of a run, once a look has found it over."""
        until(lambda: (self.run_folder(n) / "exit.json").exists())
        until(lambda: self.json("get", "runs", f"work/{self.id}/{n}")[0]["state"] == "ended")
        return self.told(n, "report")

    # --- what each program needs to know -------------------------------------------------------------------

    def _claude(self, url: str) -> None:
        self.env |= {
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": SECRET,
            "CLAUDE_CONFIG_DIR": str(self.home / "claude"),
            "CLAUDE_CODE_MAX_RETRIES": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "IS_SANDBOX": "1",
        }

    def _codex(self, url: str) -> None:
        self.env |= {"CODEX_HOME": str(self.home), "OPENAI_API_KEY": SECRET}
        (self.home / "config.toml").write_text(
            'model = "scripted"\nmodel_provider = "scripted"\n[model_providers.scripted]\nname = "scripted"\n'
            f'base_url = "{url}/v1"\nenv_key = "OPENAI_API_KEY"\nwire_api = "responses"\n'
            "request_max_retries = 1\nstream_max_retries = 1\n"
        )

    def _gemini(self, url: str) -> None:
        self.env |= {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": SECRET}
        self.model = "gemini-2.5-flash"
        self._write(".gemini/settings.json", {"security": {"auth": {"selectedType": "gemini-api-key"}}})

    def _opencode(self, url: str) -> None:
        self.env |= {"ANTHROPIC_API_KEY": SECRET, "OPENCODE_DISABLE_MODELS_FETCH": "1"}
        self.model = "scripted/scripted"
        model = {"name": "scripted", "cost": {"input": 3, "output": 15}, "limit": {"context": 200_000, "output": 8000}}
        options = {"baseURL": f"{url}/v1", "apiKey": "{env:ANTHROPIC_API_KEY}"}
        provider = {"npm": "@ai-sdk/anthropic", "options": options, "models": {"scripted": model}}
        known = {"provider": {"scripted": provider}, "small_model": self.model, "share": "disabled"}
        self._write(".config/opencode/opencode.json", known)

    def _aider(self, url: str) -> None:
        self.env |= {"ANTHROPIC_API_BASE": url, "ANTHROPIC_API_KEY": SECRET, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        self.env |= {"AIDER_EDIT_FORMAT": "whole"}
        self.model = "anthropic/claude-3-5-sonnet-20241022"

    def _write(self, name: str, value: object) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(value))
