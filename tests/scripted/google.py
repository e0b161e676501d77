"""Google's generateContent, which gemini speaks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from scripted.turns import Asked, Script


def answer(asked: Asked, script: Script) -> Sequence[bytes]:
    turn = asked.turn(script)
    parts: list[dict[str, object]] = [{"text": turn.text}] if turn.text else []
    if turn.shell:
        name, given = asked.shell(turn.shell)
        parts.append({"functionCall": {"name": name, "args": given}})
    said = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": turn.tokens,
            "candidatesTokenCount": turn.tokens // 10,
            "totalTokenCount": turn.tokens + turn.tokens // 10,
        },
        "modelVersion": "scripted",
    }
    return [f"data: {json.dumps(said)}\n\n".encode() if asked.streamed else json.dumps(said).encode()]
