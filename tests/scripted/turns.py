"""What a scripted model says, and where in a script a conversation stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_MARK = re.compile(r"SCRIPT:([\w-]+)")
# The tool that runs a shell command, by the name it has in each agent, and what its command is called there.
SHELLS = {
    "Bash": "command",
    "bash": "command",
    "exec_command": "cmd",
    "run_shell_command": "command",
    "shell": "command",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An answer that is none. `times`: how often before the request succeeds. `details`: what else its error holds."""

    status: int
    type: str = "api_error"
    message: str = "injected"
    headers: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    times: int = 1000


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One answer: words, and a shell command that the agent is to run, or what it gives as its last answer to a schema."""

    text: str = ""
    shell: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)
    fault: Fault | None = None
    hangs: bool = False
    cut: bool = False  # the connection ends in the middle of the answer
    tokens: int = 1000


Script = tuple[Turn, ...]
END = Turn(text="Done.")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request of an agent, in whatever dialect."""

    path: str
    body: dict[str, Any]
    tries: int

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream")) or "streamGenerateContent" in self.path

    @property
    def model(self) -> str:
        return str(self.body.get("model", "scripted"))

    def place(self) -> tuple[str, int]:
        """The script that the conversation names last, and which of its turns is due. Side questions get ("", 0)."""
        name, turn = "", 0
        for spoken, said in self._conversation():
            marks = [] if spoken else _MARK.findall(said)
            if marks:
                name, turn = marks[-1], 0
            elif spoken:
                turn += 1
        return (name, turn) if name else ("", 0)

    def turn(self, script: Script) -> Turn:
        _, turn = self.place()
        return script[turn] if turn < len(script) else END

    def shell(self, command: str) -> tuple[str, dict[str, Any]]:
        """The name of the agent's own tool for a shell command, and its input; Bash where none was offered."""
        name = next((name for name in SHELLS if name in self._tools()), "Bash")
        return name, {SHELLS[name]: command, **({"description": "Work"} if name != "exec_command" else {})}

    def error(self, fault: Fault) -> dict[str, Any]:
        told = {"type": fault.type, "message": fault.message, "code": fault.status, "status": fault.type}
        return {"type": "error", "error": told | dict(fault.details)}

    def _tools(self) -> set[str]:
        offered = self.body.get("tools", [])
        flat = [d for tool in offered for d in tool.get("functionDeclarations", [tool.get("function", tool)])]
        return {str(tool.get("name")) for tool in flat}

    def _conversation(self) -> Iterator[tuple[bool, str]]:
        """Who spoke, the model or another, and what; in every dialect."""
        for each in (*self.body.get("messages", ()), *self.body.get("input", ()), *self.body.get("contents", ())):
            role = each.get("role")
            model = role in ("assistant", "model") or each.get("type") in ("function_call", "custom_tool_call")
            if role in ("user", "assistant", "model") or model:
                yield model, _text(each)


def _text(message: Mapping[str, Any]) -> str:
    """Only what was written by a person: what a tool printed could hold a mark too."""
    said = message.get("content", message.get("parts", ""))
    if isinstance(said, str):
        return said
    parts = (each for each in said or () if isinstance(each, dict))
    return "\n".join(str(each.get("text", "")) for each in parts if each.get("type") != "tool_result")


def event(name: str, **said: Any) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **said})}\n\n".encode()
