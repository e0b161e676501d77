"""Anthropic's Messages API, as much of it as agents need."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from scripted.turns import Asked, Script, event


def answer(asked: Asked, script: Script) -> Sequence[bytes]:
    turn = asked.turn(script)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    if turn.shell:
        name, given = asked.shell(turn.shell)
    if turn.answer:
        name, given = "StructuredOutput", dict(turn.answer)
    if turn.shell or turn.answer:
        blocks.append({"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": name, "input": given})
    message = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": blocks,
        "stop_reason": "tool_use" if turn.shell or turn.answer else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": turn.tokens, "output_tokens": turn.tokens // 10},
    }
    return list(_streamed(message)) if asked.streamed else [json.dumps(message).encode()]


def _streamed(message: dict[str, Any]) -> Iterator[bytes]:
    yield event("message_start", message={**message, "content": [], "stop_reason": None})
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            begun, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            begun = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event("content_block_start", index=index, content_block=begun)
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=ended, usage={"output_tokens": message["usage"]["output_tokens"]})
    yield event("message_stop")
