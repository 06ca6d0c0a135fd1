"""Libraries whose files are shorter than their segments: programs that do not go there run as without us."""

import platform
import struct
import textwrap

import children
import compiling
import elf_writing
import preloading
import pytest

from amx._lib import lib

pytestmark = [
    pytest.mark.skipif(
        platform.machine() != "x86_64" or lib.amx_is_stub(), reason="this build has no machine layer"
    ),
    pytest.mark.skipif(preloading.SANITIZED, reason="a sanitizer's runtime must be the first library"),
]

PT_NOTE, PAGE, ANSWER = 4, 4096, 7
LIBRARY = "int answer(void) { return 7; }"
LINKED = "int answer(void); int main(void) { return answer(); }"
LOADED = """
    #include <dlfcn.h>
    int main(int argc, char *argv[]) {
        void *const library = dlopen(argv[1], RTLD_NOW);
        int (*const answer)(void) = library ? (int (*)(void))dlsym(library, "answer") : 0;
        return answer && argc ? answer() : 1;
    }
"""


@pytest.fixture
def library(tmp_path):
    """Its last segment, of code, lies behind the end of the file."""
    path = compiled(tmp_path / "libcut.so", LIBRARY, "-shared", "-fPIC")
    content = bytearray(path.read_bytes())
    (at,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    headers = [struct.unpack_from("<2I6Q", content, at + 56 * number) for number in range(count)]
    loaded = [number for number, header in enumerate(headers) if header[0] == elf_writing.PT_LOAD]
    notes = [number for number, header in enumerate(headers) if header[0] == PT_NOTE]
    if not notes or notes[-1] < loaded[-1]:
        pytest.skip("the linker has put no note behind the segments")
    behind = max(headers[number][3] + headers[number][6] for number in loaded)
    address, offset = (behind + 16 * PAGE) // PAGE * PAGE, -(-len(content) // PAGE) * PAGE
    segment = elf_writing.segment(offset=offset, address=address, size=2 * PAGE)
    content[at + 56 * notes[-1] : at + 56 * (notes[-1] + 1)] = segment
    path.write_bytes(content)
    return path


def compiled(path, source, *flags):
    path.with_suffix(".c").write_text(textwrap.dedent(source))
    return compiling.compile_c(path, [path.with_suffix(".c"), *flags])


@pytest.mark.parametrize("how", ["linked", "loaded"])
def test_a_library_that_was_cut_off(library, tmp_path, how):
    program = compiled(
        tmp_path / "program",
        LINKED if how == "linked" else LOADED,
        *([library, f"-Wl,-rpath,{tmp_path}"] if how == "linked" else []),
    )
    command = [program] if how == "linked" else [program, library]
    if children.run(command).returncode != ANSWER:
        pytest.skip("this dynamic linker does not load such a library")
    (tmp_path / "reports").mkdir(mode=0o700)
    result = preloading.run(command, tmp_path / "reports")
    assert (children.how_it_ended(result), result.stderr) == (ANSWER, "")
    [report] = preloading.reports(tmp_path / "reports")
    assert report["unscanned"] == 1
