"""scripts/site.py: what is on the site, and that dead links and loads from elsewhere are found."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_script", ROOT / "scripts" / "site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_by_question_exist(site):
    pages = {page for pages in site.QUESTIONS.values() for page in pages} - {"index.md"}
    assert all((ROOT / "docs" / page).is_file() for page in pages)
    assert all((ROOT / page).is_file() for page in site.PROJECT)


def test_the_api_has_every_public_function_and_class(site):
    import spicestat

    listed = re.findall(r"^::: ([\w.]+)$", site.api_page("spicestat"), flags=re.MULTILINE)
    assert {name.rpartition(".")[2] for name in listed} == set(spicestat.__all__) - {"__version__"}
    assert "spicestat.studies.card.spice_card" in listed


def test_links_of_the_readme_lead_to_pages_of_the_site(site):
    text = site.moved("[a](docs/ladder.md) ![b](docs/images/forest.png) [c](vignettes/x.Rmd)")
    assert text == "[a](ladder.md) ![b](images/forest.png) [c](vignettes/x.Rmd)"


def test_links_to_what_is_not_on_the_site_are_words(site, tmp_path):
    (tmp_path / "there.md").touch()
    page = tmp_path / "page.md"
    page.write_text("[one](there.md#a--b) [two](gone.md) [three](https://example.org) [four](#x--y)")
    site.without_dead_links(tmp_path)
    assert page.read_text() == "[one](there.md#a-b) two [three](https://example.org) [four](#x-y)"


def test_broken_links_are_found(site, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text('<h1 id="top">B</h1><a href="../a.html#here">A</a>')
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="b/#top">B</a><a href="b/#down">B</a><a href="c.html">C</a>'
        '<a href="https://example.org">out</a><script src="https://example.org/x.js"></script><img src="x.png">'
    )
    assert site.broken_links(tmp_path) == [
        "a.html loads https://example.org/x.js",
        "a.html leads to b/#down, a place that is not there",
        "a.html leads to c.html, which is not there",
        "a.html leads to x.png, which is not there",
    ]


def test_pages_of_r_load_nothing_from_elsewhere(site, tmp_path):
    page = tmp_path / "page.html"
    here = '<script src="deps/jquery.js"></script><link href="pkgdown.css" rel="stylesheet">'
    page.write_text(
        here + '<script src="https://cdnjs.cloudflare.com/x.js" integrity="sha" crossorigin="anonymous"></script>'
        '<link rel="stylesheet" href="https://cdn.jsdelivr.net/y.css"><a href="https://cdn.example.org">CDN</a>'
    )
    site.without_loads(tmp_path)
    assert page.read_text() == here + '<a href="https://cdn.example.org">CDN</a>'


def test_pages_are_described_by_their_first_sentence(site, tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```sh\nmake it\n```\n\nSays [what](x.md)\nit is: this. And more.\n")
    assert site.first_sentence(page) == "Says what it is: this."
