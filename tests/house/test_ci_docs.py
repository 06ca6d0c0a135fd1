"""What ci/docs finds: blocks of code that fail or are not what they should be, links that lead nowhere."""

import importlib.util
import sys
from pathlib import Path

import children
import pytest

ROOT = Path(__file__).parents[2]


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = made  # where dataclasses look for their module
    spec.loader.exec_module(made)
    return made


blocks = module(ROOT / "ci/blocks.py")
links = module(ROOT / "ci/links.py")
complete = module(ROOT / "docs/extensions/complete.py")


@pytest.fixture
def page(tmp_path):
    """Writes a page; gives its path."""

    def write(text):
        path = tmp_path / "page.md"
        path.write_text(text)
        return path

    return write


def run(path):
    return children.run(
        [sys.executable, ROOT / "ci/blocks.py", path], capture_output=True, text=True, check=False
    )


def failures(path):
    return blocks.run(path).failures


def block(language, text, before=""):
    return f"{before}```{language}\n{text}\n```\n"


def test_blocks_that_end_well_make_status_0(page):
    done = run(page(block("python", "assert True") + block("console", "$ true\nits output")))
    assert (done.returncode, done.stdout.splitlines()[-1][:36]) == (0, "2 blocks ran, 0 failed, 0 are not ru")


PLANTED = {
    "program": block("python", "assert False, 'planted'"),
    "syntax": block("python", "planted planted"),
    "last command": block("console", "$ true\n$ false # planted"),
    "first command": block("console", "$ false # planted\n$ true"),
    "pipe": block("console", "$ false | true # planted"),
    "missing command": block("console", "$ planted"),
    "other status": block("console", "$ (exit 3)", "<!-- status: 77 -->\n"),
    "status of python": block("python", "raise SystemExit(1)", "<!-- status: 77 -->\n"),
    "success instead": block("console", "$ true", "<!-- status: 77 -->\n"),
    "in a list": "- item\n\n  ```python\n  assert False\n  ```\n",
    "tildes": "~~~python\nassert False\n~~~\n",
    "longer fence": "````python\n'```'; assert False\n````\n",
}


@pytest.mark.parametrize("text", PLANTED.values(), ids=PLANTED)
def test_a_block_that_fails_is_found(page, text):
    done = run(page(text))
    assert done.returncode == 1
    assert "\nfailed: " in f"\n{done.stdout}"
    assert f"{page(text)}:" in done.stdout


def test_what_a_block_said_is_shown(page):
    (failure,) = failures(page(block("python", "import sys; print('so far'); sys.exit('but why')")))
    assert failure.endswith(":1: status 1\nso far\nbut why\n")


def test_a_block_that_fails_does_not_hide_another(page):
    assert len(failures(page(block("python", "1/0") + block("python", "1/0")))) == 2


WRONG = {
    "no language": (block("", "x"), "a block of no language"),
    "unknown language": (block("py", "1/0"), "a block of py"),
    "shell that is not run": (block("bash", "false"), "a block of bash"),
    "no reason": (block("bash", "false", "<!-- not run: -->\n"), "say why"),
    "no status": (block("console", "$ true", "<!-- status: any -->\n"), "is no status"),
    "mark astray": ("<!-- not run: since -->\n\n" + block("python", "1/0"), "not on the line before"),
    "no command": (block("console", "host$ true"), "without a command"),
    "no end": ("```python\n1/0\n", "has no end"),
    "file elsewhere": (
        "```{code-block} python\n:caption: ../x.py\n\n1\n```\n",
        "not in the page's directory",
    ),
}


@pytest.mark.parametrize(("text", "words"), WRONG.values(), ids=WRONG)
def test_a_block_against_the_conventions_is_found(page, text, words):
    (failure,) = failures(page(text))
    assert words in failure


def test_what_is_not_run_is_listed_with_the_reason(page):
    path = page(block("python", "1/0", "<!-- not run: it divides -->\n"))
    assert run(path).stdout.startswith(f"not run: {path}:2: it divides\n")


@pytest.mark.parametrize("language", ["text", "c", "yaml", "{note}"])
def test_what_is_only_shown_is_not_run(page, language):
    outcome = blocks.run(page(block(language, "$ false")))
    assert (outcome.ran, outcome.failures) == (0, [])


def test_blocks_of_a_page_share_a_directory_and_nothing_else(page, monkeypatch):
    monkeypatch.setenv("AMX_BACKEND", "nonsense")
    outcome = blocks.run(
        page(
            "```{code-block} python\n:caption: there.py\n\nprint('found')\n```\n"
            + block("console", "$ cd / && name=value\n$ test $PWD = / && test $name = value")
            + block(
                "console", '$ test -z "$name$AMX_BACKEND"\n$ test "$(python there.py)" = found\n$ touch new'
            )
            + block("python", "import there, pathlib\npathlib.Path('new').unlink()")
            + block("console", "$ test \\\n> ! -e new\n$ test $HOME = $PWD")
        )
    )
    assert (outcome.ran, outcome.failures) == (5, [])


def test_statuses_are_of_the_last_command(page):
    text = block("console", "$ true\n$ (exit 3)", "<!-- status: 0 or 3 -->\n")
    assert failures(page(text + block("console", "$ true\n$ (exit 3)", "<!-- status: 3 -->\n"))) == []


def test_all_pages_are_looked_at():
    assert {ROOT / "README.md", ROOT / "docs/index.md", ROOT / "docs/reference/causes.md"} <= set(
        blocks.pages()
    )


def test_links_of_markdown_lead_to_files_and_headings(page):
    path = page("# One `two`\n\n[a](page.md#one-two) [b](#one-two) `[c](no)`\n\n```text\n[d](no)\n```\n")
    assert list(links.wrong_in_markdown(path)) == []


@pytest.mark.parametrize(
    "link", ["[a](no.md)", "[a](#no)", "[a](page.md#no)", "![a](no.svg)", '<img src="no.svg">', "[a]: no"]
)
def test_a_link_of_markdown_that_leads_nowhere_is_found(page, link):
    (wrong,) = links.wrong_in_markdown(page(f"# One\n\n{link}\n"))
    assert ":3: " in wrong


ELSEWHERE = {
    "image": '<img src="https://example.org/i.png">',
    "script": '<script src="//example.org/s.js"></script>',
    "style": '<link rel="stylesheet" href="https://example.org/s.css">',
    "preconnect": '<link rel="preconnect" href="https://example.org">',
    "font": "<style>@font-face {src: url('https://example.org/f.woff')}</style>",
    "import": '<style>@import "https://example.org/s.css";</style>',
    "attribute": '<p style="background: url(https://example.org/i.png)">',
    "frame": '<iframe src="https://example.org/"></iframe>',
    "set": '<img srcset="https://example.org/i.png 2x">',
    "root": '<img src="/i.png">',
    "missing": '<img src="no.png">',
    "link": '<a href="no.html">a</a>',
    "anchor": '<a href="#no">a</a>',
}


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
def test_what_a_page_loads_from_elsewhere_or_links_to_nowhere_is_found(tmp_path, text):
    path = tmp_path / "page.html"
    path.write_text(f"<p>{text}</p>")
    assert len(list(links.wrong_in_site(path))) == 1


def test_links_to_other_hosts_are_no_loads(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(
        '<p id="a"><a href="https://example.org/">b</a><a href="#a">c</a><img src="data:image/png,x"></p>'
    )
    assert list(links.wrong_in_site(path)) == []


def test_a_style_sheet_that_loads_from_another_host_is_found(tmp_path):
    path = tmp_path / "style.css"
    path.write_text("a { background: url(near.png) } b { background: url(//example.org/i.png) }")
    assert len(list(links.wrong_in_styles(path))) == 1


def test_a_public_name_without_a_page_is_found():
    names = set(complete.public_names())
    assert complete.missing(names) == []
    assert complete.missing(names - {"amx.matmul", "amx.cpu.Palette"}) == ["amx.cpu.Palette", "amx.matmul"]
