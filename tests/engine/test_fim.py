"""How each family wants its hole written, read from the vocabulary."""

from dataclasses import dataclass

import pytest

from codex_lsp.engine import fim
from codex_lsp.engine.fim import FAMILIES, Family, Template
from codex_lsp.engine.request import FimOrder

PRE, SUF, MID, BOS = 1, 2, 3, 9


@dataclass
class FakeVocabulary:
    """Knows these special tokens, numbered in their order from 0."""

    specials: list[str]
    bos: int | None = None

    def token_id(self, text: str) -> int | None:
        return self.specials.index(text) if text in self.specials else None


def markers(family: Family) -> list[str]:
    return [family.prefix, family.suffix, *([family.middle] if family.middle else [])]


@pytest.mark.parametrize(
    ("order", "parts"),
    [
        ("psm", [PRE, "before", SUF, "after", MID]),
        ("spm", [SUF, "after", PRE, "before", MID]),
        ("spm2", [PRE, SUF, "after", MID, "before"]),
        ("prefix", ["before"]),
    ],
)
def test_a_prompt_in_each_order(order: FimOrder, parts: list[int | str]) -> None:
    template = Template("some", order, bos=None, prefix_id=PRE, suffix_id=SUF, middle_id=MID)
    assert template.render("before", "after") == parts
    # Without a suffix nothing but its text is missing: the model saw the marker in training.
    assert template.render("before", "") == [part for part in parts if part != "after"]


def test_a_model_trained_with_a_first_token_gets_it_first() -> None:
    assert Template("none", "prefix", bos=BOS).render("before", "after") == [BOS, "before"]


def test_a_family_without_a_middle_marker_ends_in_its_prefix() -> None:
    template = Template("codestral", "spm", prefix_id=PRE, suffix_id=SUF)
    assert template.render("before", "after") == [SUF, "after", PRE, "before"]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_each_family_is_found_by_its_markers(family: Family) -> None:
    template = fim.detect(FakeVocabulary(["a", *markers(family), *family.stops]))
    assert (template.family, template.order) == (family.name, family.order)
    assert (template.prefix_id, template.suffix_id) == (1, 2)
    assert template.middle_id == (3 if family.middle else None)
    assert template.stop_ids == set(range(1, 1 + len(markers(family)) + len(family.stops)))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_half_a_familys_markers_are_none(family: Family) -> None:
    assert fim.detect(FakeVocabulary(markers(family)[:-1])).family == "none"


def test_families_with_the_same_markers_are_told_apart() -> None:
    shared = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
    assert fim.detect(FakeVocabulary([*shared, "<|repo_name|>"])).family == "qwen2.5-coder"
    assert fim.detect(FakeVocabulary([*shared, "<|file_separator|>"])).family == "codegemma"


def test_a_stop_token_that_is_missing_is_left_out() -> None:
    family = next(family for family in FAMILIES if family.only_with is None)
    template = fim.detect(FakeVocabulary(markers(family)))
    assert template.stop_ids == {0, 1, 2}


def test_a_chosen_order_replaces_the_familys_own() -> None:
    assert fim.detect(FakeVocabulary(markers(FAMILIES[0])), "spm").order == "spm"


def test_without_markers_the_order_stays_prefix_whatever_is_chosen() -> None:
    template = fim.detect(FakeVocabulary([], bos=BOS), "psm")
    assert (template.family, template.order, template.bos) == ("none", "prefix", BOS)
