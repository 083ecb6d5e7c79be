"""The pipe between the daemon and the engine process: JSON, each message behind its length.

┌────────────────────┬──────────────────────────┐
│ length, 4 bytes LE │ UTF-8 JSON, `length` long │
└────────────────────┴──────────────────────────┘

daemon → engine   load {config} · complete {id, request} · cancel {id}
engine → daemon   loading {progress} · ready {info} · failed {message} · partial {id, text}
                  done {id, completion, speed} · error {id, message}
"""

import asyncio
import json
import struct
from typing import Any, BinaryIO

HEADER = struct.Struct("<I")
# A prompt window is a few hundred kilobytes at most; anything larger is a broken stream.
MAX_MESSAGE = 64 * 1024 * 1024

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """A message as it goes over the pipe."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def read(stream: BinaryIO) -> Message | None:
    """The next message of a blocking stream; None at its end. Raises ValueError on a broken stream."""
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    length = _length(header)
    body = stream.read(length)
    # Whoever wrote this ended in the middle of it.
    return _decode(body) if len(body) == length else None


async def read_async(stream: asyncio.StreamReader) -> Message | None:
    """The next message of an asyncio stream; None at its end. Raises ValueError on a broken stream."""
    try:
        header = await stream.readexactly(HEADER.size)
        body = await stream.readexactly(_length(header))
    except asyncio.IncompleteReadError:
        return None
    return _decode(body)


def _length(header: bytes) -> int:
    length: int = HEADER.unpack(header)[0]
    if length > MAX_MESSAGE:
        raise ValueError(f"a message of {length} bytes on the engine's pipe")
    return length


def _decode(body: bytes) -> Message:
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a message on the engine's pipe is not an object")
    return message
