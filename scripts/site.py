"""Build the documentation of both languages into build/site, offline.

    python scripts/site.py          pages and API of Python, llms.txt
    python scripts/site.py --finish makes R's pages load nothing from elsewhere, and fails if a link leads nowhere

The pages are those of the repository: README.md, docs/ and the results of benchmarks; pages of the API come from
docstrings. `make site` puts R's pages (pkgdown) beside them, in build/site/r, and checks all links.
"""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

ROOT = Path(__file__).parents[1]
SITE, SOURCE = ROOT / "build" / "site", ROOT / "build" / "site-source"
PACKAGES = (
    "spicestat",
    "spicestat.trials",
    "spicestat.simulate",
    "spicestat.models",
    "spicestat.models.precoded",
    "spicestat.group",
    "spicestat.studies",
    "spicestat.agents",
    "spicestat.spice",
    "spicestat.errors",
)
QUESTIONS = {
    "Get started": ["index.md", "gallery.md", "command-line.md", "tasks.md"],
    "Which model?": ["models/README.md", "models/history.md", "task-library.md"],
    "How well does it predict?": ["ladder.md"],
    "What can I rely on?": ["audit-card.md"],
    "How do people and groups differ?": ["group-models.md", "bayesian.md"],
    "How do I plan a study?": ["simulation.md"],
}
"""Pages by what a reader asks; further pages of docs/ follow under "More"."""
PROJECT = ("CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md")


def main() -> None:
    """Lay the sources out, build the pages, and list them for language models."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SOURCE)
    (SOURCE / "index.md").write_text(moved((ROOT / "README.md").read_text(encoding="utf-8")), encoding="utf-8")
    for name in PROJECT:
        (SOURCE / name).write_text(moved((ROOT / name).read_text(encoding="utf-8")), encoding="utf-8")
    results = SOURCE / "benchmarks" / "results"
    results.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks" / "README.md", results.parent)
    for page in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        shutil.copy(page, results)
    (results / "results.csv").touch()
    api = SOURCE / "api"
    api.mkdir()
    for package in PACKAGES:
        (api / f"{package}.md").write_text(api_page(package), encoding="utf-8")
    without_dead_links(SOURCE)
    config = SOURCE.parent / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings(), sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--quiet", "--config-file", str(config)], check=True)
    # of use to servers alone, with links from their root
    (SITE / "404.html").unlink()
    (SITE / "llms.txt").write_text(for_language_models(), encoding="utf-8")


def moved(text: str) -> str:
    """Write links of a page of the repository's root as they are from its place in docs/."""
    return re.sub(r"\]\(docs/", "](", text).replace("docs/images/", "images/")


def without_dead_links(folder: Path) -> None:
    """Leave the words alone of links to files that are not on the site, such as sources."""
    for page in folder.rglob("*.md"):

        def kept(found: re.Match[str], page: Path = page) -> str:
            target, mark, place = found.group(2).partition("#")
            there = not target or urlsplit(target).scheme or (page.parent / unquote(target)).exists()
            # GitHub keeps the hyphens around what it drops from a heading, and mkdocs does not
            return f"[{found.group(1)}]({target}{mark}{re.sub('-+', '-', place)})" if there else found.group(1)

        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", kept, text), encoding="utf-8")


def api_page(package: str) -> str:
    """List what a package exports; the docstrings are filled in by mkdocstrings."""
    module = import_module(package)
    lines = [f"# {package}", "", (inspect.getdoc(module) or "").splitlines()[0], ""]
    for name in module.__all__:
        value = getattr(module, name)
        home = getattr(value, "__module__", None)
        if not name.startswith("_") and home and (inspect.isclass(value) or inspect.isroutine(value)):
            lines += [f"::: {home}.{value.__qualname__}", ""]
    return "\n".join(lines)


def settings() -> dict[str, object]:
    """Return the settings of mkdocs: nothing is loaded from elsewhere, and pages open without a server."""
    listed = {page for pages in QUESTIONS.values() for page in pages}
    more = [str(page.relative_to(ROOT / "docs")) for page in sorted((ROOT / "docs").rglob("*.md"))]
    nav: list[object] = [{title: pages} for title, pages in QUESTIONS.items()]
    nav += [
        {"More": [page for page in more if page not in listed]},
        {"Python": [f"api/{package}.md" for package in PACKAGES]},
        {"R": "r/index.html"},
        {"Measured": ["benchmarks/README.md", *(f"benchmarks/results/{p.name}" for p in results_pages())]},
        {"Project": list(PROJECT)},
    ]
    docstrings = {
        "docstring_style": "numpy",
        "show_source": False,
        "show_root_heading": True,
        "show_root_full_path": False,
        "show_signature_annotations": True,
        "separate_signature": True,
        "heading_level": 2,
    }
    return {
        "site_name": "spicestat",
        "docs_dir": str(SOURCE),
        "site_dir": str(SITE),
        "use_directory_urls": False,
        "theme": {
            "name": "material",
            "font": False,
            "features": ["navigation.indexes", "navigation.top", "content.code.copy"],
            "palette": [
                {"media": f"(prefers-color-scheme: {scheme})", "scheme": name}
                for scheme, name in (("light", "default"), ("dark", "slate"))
            ],
        },
        "plugins": [
            "search",
            {"mkdocstrings": {"handlers": {"python": {"paths": [str(ROOT)], "options": docstrings}}}},
        ],
        "markdown_extensions": ["tables", "fenced_code", "toc", "attr_list"],
        "nav": nav,
        "validation": {"nav": {"not_found": "ignore"}, "links": {"not_found": "warn"}},
    }


def results_pages() -> list[Path]:
    """Return the tables of the benchmarks."""
    return sorted((ROOT / "benchmarks" / "results").glob("*.md"))


def for_language_models() -> str:
    """Return llms.txt: every page with its title and first sentence."""
    lines = ["# spicestat", "", f"> {first_sentence(SOURCE / 'index.md')}", "", "## Pages", ""]
    for page in sorted(SOURCE.rglob("*.md")):
        place = page.relative_to(SOURCE).with_suffix(".html")
        title = next(
            (line[2:] for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# ")), place
        )
        html = place.with_name("index.html") if place.stem == "README" else place
        lines.append(f"- [{title}]({html.as_posix()}): {first_sentence(page)}")
    return "\n".join(lines) + "\n"


def first_sentence(page: Path) -> str:
    """Return the first sentence of a page's first paragraph."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    paragraphs = [part.strip() for part in text.split("\n\n") if re.match(r"\s*[\w*`\[]", part)]
    paragraphs = [part for part in paragraphs if not part.startswith("Written by")]
    words = " ".join(paragraphs[0].split()) if paragraphs else ""
    plain = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", words)
    return re.split(r"(?<=[.?])\s", plain, maxsplit=1)[0]


def without_loads(folder: Path) -> None:
    """Drop scripts and styles from elsewhere, which pkgdown before 2.1 has for search, icons and copying."""
    elsewhere = r"""<(?:script|link)\b[^>]*?(?:src|href)="https?://(?:cdn|cdnjs|fonts)\.[^"]*"[^>]*>(?:</script>)?"""
    for page in folder.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        page.write_text(re.sub(elsewhere, "", text), encoding="utf-8")


class Links(HTMLParser):
    """Where a page leads to, what it loads, and the places in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take down one tag."""
        given = {name: value or "" for name, value in attrs}
        self.places |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.leads.append(given["href"])
        elif tag in ("script", "img", "iframe") and "src" in given:
            self.loads.append(given["src"])
        elif tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload"):
            self.loads.append(given.get("href", ""))


def broken_links(site: Path) -> list[str]:
    """Return what is wrong with a built site: links to pages or places that are not there, and loads from elsewhere."""
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, found in pages.items():
        name = path.relative_to(site)
        wrong += [f"{name} loads {link}" for link in found.loads if re.match(r"(https?:)?//", link)]
        for link in [*found.leads, *found.loads]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                wrong.append(f"{name} leads to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                wrong.append(f"{name} leads to {link}, a place that is not there")
    return wrong


if __name__ == "__main__":
    if "--finish" in sys.argv[1:]:
        without_loads(SITE / "r")
        problems = broken_links(SITE)
        print("\n".join(problems or ["all links lead somewhere"]))
        sys.exit(bool(problems))
    main()
