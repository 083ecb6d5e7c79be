"""The pipe: what goes in comes out, and a broken stream is an end or an error, never a wrong message."""

import asyncio
import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine import messages
from codex_lsp.engine.messages import Message

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
some_messages = st.lists(st.dictionaries(st.text(), values, max_size=4), max_size=4)


async def read_async(data: bytes) -> Message | None:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await messages.read_async(reader)


@given(some_messages)
@settings(max_examples=40, deadline=None)
def test_messages_come_out_as_they_went_in(sent: list[Message]) -> None:
    stream = io.BytesIO(b"".join(map(messages.encode, sent)))
    assert [messages.read(stream) for _ in sent] == sent
    assert messages.read(stream) is None


def test_half_a_surrogate_pair_survives() -> None:
    message = {"prefix": "x = '\ud83d'"}
    assert messages.read(io.BytesIO(messages.encode(message))) == message


@pytest.mark.parametrize("length", range(len(messages.encode({"id": 1}))))
async def test_a_stream_that_breaks_off_anywhere_has_ended(length: int) -> None:
    data = messages.encode({"id": 1})[:length]
    assert messages.read(io.BytesIO(data)) is None
    assert await read_async(data) is None


async def test_the_asynchronous_reader_reads_the_same() -> None:
    assert await read_async(messages.encode({"id": 1, "text": "é"})) == {"id": 1, "text": "é"}


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", messages.MAX_MESSAGE + 1),
        struct.pack("<I", 2) + b"{]",
        struct.pack("<I", 2) + b"[]",
        struct.pack("<I", 1) + b"\xff",
        b"a line that some library printed\n",
    ],
    ids=["oversized", "no JSON", "no object", "no UTF-8", "a stray print"],
)
async def test_a_broken_stream_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's and UTF-8's own errors are among them
        messages.read(io.BytesIO(data))
    with pytest.raises(ValueError):  # noqa: PT011 - as above
        await read_async(data)
