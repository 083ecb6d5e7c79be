"""From a request to its text: what is reused, where it ends, and that nothing ends it wrongly."""

import dataclasses
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codex_lsp.engine import fim
from codex_lsp.engine.generation import MIN_SLICE, SLICE_S, Generator
from codex_lsp.engine.model import LlamaModel
from codex_lsp.engine.request import Completion, FimOrder, FinishReason, Request
from tests.fakes import MID, PRE, SPACES, SUF, FakeClock, FakeModel, Overfull, Step, template

PREFIX = "def area(radius):\n    return"
SUFFIX = "\n\n\nprint(area(2))\n"


def request(prefix: str = PREFIX, suffix: str = SUFFIX, n_predict: int = 8, **others: object) -> Request:
    return dataclasses.replace(Request(prefix, suffix, n_predict, deadline_ms=60_000), **others)  # type: ignore[arg-type] # the fields' own types, by name


class Bench:
    """A generator over a fake model whose tokens take `seconds_per_token` on a clock of our own."""

    def __init__(self, order: FimOrder = "psm", n_ctx: int = 2048) -> None:
        self.clock = FakeClock()
        self.seconds_per_token = SLICE_S / MIN_SLICE
        self.model = FakeModel(template(order), n_ctx, before_step=self._before_step)
        self.generator = Generator(self.model, self.clock)
        self.partials: list[str] = []
        self.cancelled = False
        self._actions: dict[int, Callable[[], None]] = {}

    def complete(self, asked: Request) -> Completion:
        self.partials.clear()
        self.model.steps.clear()
        return self.generator.complete(asked, self.clock(), lambda: self.cancelled, self.partials.append)

    def at_step(self, number: int, act: Callable[[], None]) -> None:
        """Act during the step of this number, counted from 0."""
        self._actions[number] = act

    def _before_step(self, step: Step) -> None:
        self.clock.now += len(step.tokens) * self.seconds_per_token
        if act := self._actions.pop(len(self.model.steps), None):
            act()

    def cancel(self) -> None:
        self.cancelled = True

    def let_the_deadline_pass(self) -> None:
        self.clock.now += 60


# What is prefilled


# The fake's last token before the cursor, which the answer begins with again.
HEALED = 1


def test_a_cold_prompt_is_prefilled_whole_with_each_marker_once() -> None:
    bench = Bench()
    done = bench.complete(request(n_predict=1))
    tokens = [token for step in bench.model.steps for token in step.tokens]
    prompt = [PRE, *bench.model.tokenize(PREFIX[:-1]), SUF, *bench.model.tokenize(SUFFIX), MID]
    assert tokens == [*prompt, PREFIX.encode()[-1]], "the last token of the prefix is asked for again"
    assert (done.n_reused, done.n_prefilled, done.n_prompt) == (0, len(prompt), len(prompt))


def test_the_same_request_again_prefills_one_token_and_says_the_same() -> None:
    bench = Bench()
    first = bench.complete(request())
    again = bench.complete(request())
    assert (again.n_prefilled, again.n_reused) == (1, first.n_prompt - 1)
    assert again.text == first.text


@pytest.mark.parametrize(
    ("order", "n_prefilled"),
    [
        ("prefix", 1),  # the letter
        ("spm2", 1),  # the letter
        ("spm", 2),  # the letter, MID
        ("psm", 1 + 1 + len(SUFFIX) + 1),  # the letter, SUF, all of the suffix, MID
    ],
)
def test_a_typed_letter_costs_what_its_order_says(order: FimOrder, n_prefilled: int) -> None:
    bench = Bench(order)
    bench.model.says("x")
    bench.complete(request())
    bench.model.says("x")
    assert bench.complete(request(PREFIX + "(")).n_prefilled == n_prefilled


@pytest.mark.parametrize("order", ["prefix", "spm2"])
def test_typing_what_the_model_wrote_reuses_what_was_decoded(order: FimOrder) -> None:
    bench = Bench(order)
    bench.model.says(" radius")
    bench.complete(request())
    done = bench.complete(request(PREFIX + " radi"))
    assert (done.n_prefilled, done.n_reused) == (1, done.n_prompt - 1)


def test_white_space_typed_at_the_cursor_costs_nothing_new() -> None:
    bench = Bench("spm2")
    bench.complete(request("if x:\n"))
    assert bench.complete(request("if x:\n    ")).n_prefilled == 1


def test_two_files_in_turn_stay_warm() -> None:
    bench = Bench("spm2")
    here, there = request(), request("const area = (r) =>", "\nexport { area }\n")
    bench.complete(here)
    bench.complete(there)
    assert bench.complete(here).n_prefilled == 1
    assert bench.complete(there).n_prefilled == 1


def test_a_memory_that_cannot_drop_a_part_reads_everything_again_and_says_the_same() -> None:
    bench, fresh = Bench("spm2"), Bench("spm2")
    bench.model.drops_parts = False
    bench.complete(request())
    done = bench.complete(request(PREFIX + "("))
    assert done.n_prefilled == done.n_prompt
    assert done.text == fresh.complete(request(PREFIX + "(")).text


# Where it ends


def test_the_model_ends_it() -> None:
    bench = Bench()
    bench.model.says("3")
    done = bench.complete(request())
    assert (done.text, done.finish_reason, done.n_decoded) == ("3", FinishReason.END, 1 + HEALED)


def test_a_marker_written_by_the_model_ends_it() -> None:
    bench = Bench()
    bench.model.script = iter([ord("3"), SUF, ord("4")])
    assert bench.complete(request()).text == "3"


def test_n_predict_ends_it() -> None:
    bench = Bench()
    bench.model.says("abcdef")
    done = bench.complete(request(n_predict=3))
    assert (done.text, done.finish_reason, done.n_decoded) == ("abc", FinishReason.LENGTH, 3 + HEALED)


def test_a_rule_ends_it_at_once_and_the_rest_is_never_decoded() -> None:
    bench = Bench()
    bench.model.says("3\nabc")
    done = bench.complete(request(single_line=True))
    assert (done.text, done.finish_reason, done.n_decoded) == ("3", FinishReason.STOP, 2 + HEALED)


def test_the_indent_that_stands_before_the_cursor_is_not_written_twice() -> None:
    bench = Bench()
    bench.model.says("    return 3")
    assert bench.complete(request("def f():\n    ", n_predict=20)).text == "return 3"


def test_an_answer_that_leaves_the_block_says_nothing() -> None:
    bench = Bench()
    bench.model.says("print(3)")
    done = bench.complete(request("def f():\n    "))
    assert (done.text, done.finish_reason) == ("", FinishReason.STOP)


def test_a_character_split_over_tokens_is_written_when_it_is_whole() -> None:
    bench = Bench()
    bench.model.says("é€😀")
    assert bench.complete(request(n_predict=20)).text == "é€😀"
    assert "\ufffd" not in "".join(bench.partials)


def test_partials_grow_into_the_text() -> None:
    bench = Bench()
    done = bench.complete(request())
    assert bench.partials[-1] == done.text
    assert len(bench.partials) == done.n_decoded
    assert all(done.text.startswith(partial) for partial in bench.partials)


# Cancel and deadline


def test_nothing_runs_for_a_request_that_nobody_waits_for() -> None:
    bench = Bench()
    bench.cancel()
    assert bench.complete(request()).finish_reason == FinishReason.CANCELLED
    assert bench.model.steps == []


def test_nothing_runs_after_the_deadline() -> None:
    bench = Bench()
    done = bench.generator.complete(request(), bench.clock() - 60, lambda: False, bench.partials.append)
    assert done.finish_reason == FinishReason.DEADLINE
    assert bench.model.steps == []


def test_cancel_is_seen_between_slices_and_what_was_prefilled_is_kept() -> None:
    bench, long = Bench(), request("x = 1\n" * 30)
    bench.at_step(1, bench.cancel)
    done = bench.complete(long)
    assert (done.finish_reason, done.text, done.first_token_ms) == (FinishReason.CANCELLED, "", None)
    assert done.n_prefilled == 2 * MIN_SLICE
    bench.cancelled = False
    again = bench.complete(long)
    assert (again.n_reused, again.n_prefilled) == (2 * MIN_SLICE, again.n_prompt - 2 * MIN_SLICE)


def test_cancel_is_seen_between_tokens() -> None:
    bench, warm = Bench(), request()
    bench.complete(warm)
    bench.at_step(2, bench.cancel)  # step 0 is the prompt's last token, which gives the first of the middle
    done = bench.complete(warm)
    assert (done.finish_reason, done.n_decoded) == (FinishReason.CANCELLED, 3)


def test_the_deadline_shows_what_was_ready() -> None:
    bench, warm = Bench(), request()
    whole = bench.complete(warm).text
    bench.at_step(2, bench.let_the_deadline_pass)
    done = bench.complete(warm)
    assert (done.finish_reason, done.text) == (FinishReason.DEADLINE, whole[: 3 - HEALED])
    assert done.total_ms > 60_000


def test_a_deadline_during_prefill_keeps_what_was_prefilled() -> None:
    bench, long = Bench(), request("x = 1\n" * 30)
    bench.at_step(2, bench.let_the_deadline_pass)
    done = bench.complete(long)
    assert (done.finish_reason, done.text) == (FinishReason.DEADLINE, "")
    assert bench.complete(long).n_reused == done.n_prefilled > 0


def test_slices_grow_with_the_speed_that_was_measured() -> None:
    bench = Bench()
    bench.seconds_per_token = SLICE_S / 100
    bench.complete(request("x = 1\n" * 60, n_predict=1))
    assert len(bench.model.steps[0].tokens) == MIN_SLICE
    assert max(len(step.tokens) for step in bench.model.steps) == 100


# Tight places


def test_a_prompt_too_long_is_cut_at_both_far_ends() -> None:
    bench = Bench(n_ctx=256)
    done = bench.complete(request("a" * 500 + "NEAR", "CLOSE" + "b" * 500))
    assert done.n_prompt + 8 <= 256
    tokens = [token for step in bench.model.steps for token in step.tokens][: done.n_prompt]
    prefix, suffix = bytes(tokens[1 : tokens.index(SUF)]), bytes(tokens[tokens.index(SUF) + 1 : -1])
    assert prefix.endswith(b"NEA"), "all but the token that is held back"
    assert suffix.startswith(b"CLOSE")


@pytest.mark.parametrize("n_predict", [120, 128, 4096])
def test_more_to_predict_than_there_is_room_for_ends_with_the_room(n_predict: int) -> None:
    bench = Bench(n_ctx=128)
    done = bench.complete(request(n_predict=n_predict))
    assert done.finish_reason == FinishReason.LENGTH
    assert done.n_prompt + done.n_decoded <= 128


@pytest.mark.parametrize("n_chars", range(30, 100, 7))
def test_a_token_healed_in_many_steps_finds_room_in_a_full_cache(n_chars: int) -> None:
    bench = Bench("prefix", n_ctx=160)
    for place in "abc":
        bench.complete(request(place * 40))
    done = bench.complete(request("x" * n_chars + " " * 12))
    assert (done.finish_reason, done.n_decoded) == (FinishReason.LENGTH, 8 + 12)


@pytest.mark.parametrize("code_point", [0xFFFD, 0x1F600, 0xD83D])
def test_a_character_that_is_no_whole_token_is_not_held_back(code_point: int) -> None:
    bench = Bench("prefix")
    bench.model.says("ab")
    done = bench.complete(request(f"x = '{chr(code_point)}"))
    assert (done.text, done.n_decoded) == ("ab", 2)


def test_a_token_without_text_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench("prefix")
    monkeypatch.setattr(bench.model, "tokenize", lambda text: [*text.encode(), SPACES])
    monkeypatch.setattr(bench.model, "piece", lambda token: b"" if token == SPACES else bytes([token]))
    done = bench.complete(request("abc", n_predict=2))
    assert done.n_prompt == len("abc") + 1


@pytest.mark.parametrize("order", ["psm", "spm", "spm2", "prefix"])
def test_an_empty_file_gets_an_answer(order: FimOrder) -> None:
    bench = Bench(order)
    bench.model.says("x")
    assert bench.complete(request("", "")).text == "x"


def test_after_a_failed_decode_the_next_request_starts_afresh_and_is_answered() -> None:
    bench = Bench("spm2")
    first = bench.complete(request())

    def fail() -> None:
        raise Overfull

    bench.at_step(3, fail)
    with pytest.raises(Overfull):
        bench.complete(request())
    assert not any(bench.model.held.values())
    again = bench.complete(request())
    assert (again.text, again.n_reused) == (first.text, 0)


def test_partials_that_cannot_be_sent_leave_a_cache_that_works() -> None:
    bench = Bench("spm2")
    first = bench.complete(request())

    def broken(_: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        bench.generator.complete(request(), bench.clock(), lambda: False, broken)
    assert bench.complete(request()).text == first.text


# The invariant behind it all: a warm cache changes the cost, never the text.

edits = st.lists(
    st.tuples(
        st.integers(0, 3),  # the place
        st.sampled_from(["type", "erase", "below", "jump", "cancel"]),
        st.text("ab \n", min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=12,
)


@given(st.sampled_from(["psm", "spm", "spm2", "prefix"]), st.booleans(), edits)
@settings(max_examples=60, deadline=None)
def test_a_warm_cache_never_changes_the_text(
    order: FimOrder, drops_parts: bool, steps: list[tuple[int, str, str]]
) -> None:
    bench = Bench(order, n_ctx=160)
    bench.model.drops_parts = drops_parts
    places = [(f"# place {place}\n" + "x = 1\n" * place, "y\n" * place) for place in range(4)]
    for place, what, text in steps:
        prefix, suffix = places[place]
        if what == "cancel":
            bench.at_step(len(text) - 1, bench.cancel)
        prefix = {"type": prefix + text, "erase": prefix[: -len(text)], "jump": text}.get(what, prefix)
        suffix = text + suffix if what == "below" else suffix
        places[place] = prefix, suffix
        warm = bench.complete(request(prefix, suffix))
        bench.cancelled, bench._actions = False, {}
        cold = Bench(order, n_ctx=160).complete(request(prefix, suffix))
        assert cold.text.startswith(warm.text) if what == "cancel" else warm.text == cold.text
        if warm.finish_reason != FinishReason.CANCELLED:
            assert warm.n_reused + warm.n_prefilled == warm.n_prompt == cold.n_prefilled


# The same with llama.cpp


def generator(model: LlamaModel, order: FimOrder) -> Generator:
    """A generator that finds the model's memory empty."""
    model.template = fim.detect(model, order)
    fresh = Generator(model, FakeClock())
    fresh._kv_cache.clear()
    return fresh


def complete(engine: Generator, asked: Request) -> Completion:
    return engine.complete(asked, 0, lambda: False, lambda _: None)


@pytest.mark.parametrize("order", ["psm", "spm", "spm2", "prefix"])
def test_llama_cpp_says_the_same_warm_and_cold(tiny: LlamaModel, order: FimOrder) -> None:
    code = 'import os\n\n\ndef names(folder):\n    """Files."""\n    return sorted(os.listdir(folder))\n'
    other = "class Shelf:\n    def __init__(self):\n        self.books = []\n"
    asked = [request(code[:end], code[end + 9 :]) for end in (30, 31, 45, 44, 60)]
    asked += [request(other[:end], "") for end in (20, 21, 40)]
    asked += [asked[2], request("", ""), asked[0]]
    engine = generator(tiny, order)
    warm = [complete(engine, one) for one in asked]
    cold = [complete(generator(tiny, order), one) for one in asked]
    assert [done.text for done in warm] == [done.text for done in cold]
    assert len({done.text for done in cold}) > len(asked) / 2, "the text must depend on the prompt to show anything"
    assert sum(done.n_prefilled for done in warm) < sum(done.n_prefilled for done in cold)


def test_llama_cpp_prefills_a_handful_of_tokens_for_a_typed_letter(tiny: LlamaModel) -> None:
    line = "    return sorted(folder, key=len)"
    suffix = "\n\n\nprint(names())\n" * 10
    engine = generator(tiny, "spm2")
    cold = complete(engine, request("def names(folder):\n", suffix))
    typed = [complete(engine, request("def names(folder):\n" + line[:end], suffix)) for end in range(len(line))]
    assert cold.n_prefilled == cold.n_prompt > 60
    assert max(done.n_prefilled for done in typed) <= 6
    assert sum(done.n_prefilled for done in typed) <= 2 * len(line)
