from pathlib import Path

EDITORS = Path(__file__).parents[1] / "editors"


def test_the_page_shows_the_neovim_setup_that_the_editors_tests_run() -> None:
    _introduction, setup = (EDITORS / "neovim/minimal.lua").read_text(encoding="utf-8").split("\n\n", 1)
    assert f"```lua\n{setup}```" in (EDITORS / "other.md").read_text(encoding="utf-8")
