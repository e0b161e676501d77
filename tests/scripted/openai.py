"""OpenAI's two APIs: Responses, which codex speaks, and chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from scripted.turns import Asked, Script, Turn, event


def response(asked: Asked, script: Script) -> Sequence[bytes]:
    return list(_response(asked, asked.turn(script)))


def _response(asked: Asked, turn: Turn) -> Iterator[bytes]:
    number = asked.place()[1]
    yield event("response.created", response={"id": f"resp_{number}"})
    for index, item in enumerate(_items(asked, turn, number)):
        yield event("response.output_item.added", output_index=index, item=item)
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response={"id": f"resp_{number}", "usage": _usage(turn)})


def _items(asked: Asked, turn: Turn, number: int) -> Iterator[dict[str, Any]]:
    if turn.shell:
        name, given = asked.shell(turn.shell)
        arguments = json.dumps({key: value for key, value in given.items() if key != "description"})
        yield {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": name,
               "arguments": arguments}  # fmt: skip
    elif turn.text:
        said = [{"type": "output_text", "text": turn.text}]
        yield {"type": "message", "role": "assistant", "id": f"m_{number}", "content": said}


def _usage(turn: Turn) -> dict[str, Any]:
    return {
        "input_tokens": turn.tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": turn.tokens // 10,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": turn.tokens + turn.tokens // 10,
    }


def chat(asked: Asked, script: Script) -> Sequence[bytes]:
    turn = asked.turn(script)
    message: dict[str, Any] = {"role": "assistant", "content": turn.text or None}
    if turn.shell:
        name, given = asked.shell(turn.shell)
        function = {"name": name, "arguments": json.dumps(given)}
        message["tool_calls"] = [{"index": 0, "id": "call_0", "type": "function", "function": function}]
    usage = {
        "prompt_tokens": turn.tokens,
        "completion_tokens": turn.tokens // 10,
        "total_tokens": turn.tokens + turn.tokens // 10,
    }
    common = {"id": "chatcmpl-scripted", "created": 0, "model": asked.model}
    reason = "tool_calls" if turn.shell else "stop"
    if not asked.streamed:
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return [json.dumps({**common, "object": "chat.completion", "choices": [choice], "usage": usage}).encode()]
    chunks = [
        {**common, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": message}]},
        {**common, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
         "usage": usage},
    ]  # fmt: skip
    return [*(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks), b"data: [DONE]\n\n"]
