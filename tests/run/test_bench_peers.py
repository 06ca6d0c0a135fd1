"""The libraries that `amx bench` compares with: which are there, what they ran, and that they agree."""

import json
import sys

import benching
import children
import pytest
from benching import FakePeer, report_of

from amx.bench import peers
from amx.bench.peers import peer as protocol
from amx.bench.peers.peer import Product, Verdict
from amx.bench.peers.torch import implementations

emulated, small = benching.emulated, benching.small  # fixtures


def test_the_use_of_amx_is_what_amx_used_sees():
    """Here of a product that is none, and uses none."""
    use = protocol.use_of_a_call(Product(lambda: None, lambda same: same, None))
    assert use.verdict in (Verdict.NO, Verdict.UNKNOWN)
    assert use.evidence


ONEDNN_LOG = """onednn_verbose,v1,info,cpu,isa:Intel AVX-512 with Intel DL Boost and bfloat16 support
onednn_verbose,v1,primitive,info,template:operation,engine,primitive,implementation,prop_kind,problem_desc
onednn_verbose,v1,primitive,exec,cpu,matmul,{},undef,src:bf16::blocked:ab::f0,,,256x256:256x256,14.6
onednn_verbose,v1,primitive,exec,cpu,gemm_api,,undef,src_s8::blocked:ab:f0 wei_s8::blocked:ab:f0,,,,15.9
"""


@pytest.mark.parametrize("name", ["brg_matmul:avx10_1_512_amx", "brg_matmul:avx512_core_bf16"])
def test_the_log_of_onednn_names_what_it_ran(name):
    assert implementations(ONEDNN_LOG.format(name)) == [name]
    assert implementations(ONEDNN_LOG.format("")) == []


def test_a_library_that_is_not_there_is_missing_with_the_remedy():
    class Absent(FakePeer):
        module, package = "no_such_module_of_anybody", "no-such-package"

    assert Absent().missing() == "no module no_such_module_of_anybody: pip install no-such-package"


def test_a_directory_that_is_named_like_a_library_is_none(tmp_path, monkeypatch):
    class Directory(FakePeer):
        module = "directory_without_a_module"

    (tmp_path / Directory.module).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert "no attribute '__version__'" in Directory().missing()


def test_a_missing_peer_is_listed_and_no_error(emulated, small):
    class Absent(FakePeer):
        name, module = "absent", "no_such_module_of_anybody"

    report = report_of("8x9x10", others=[Absent()])
    assert [(peer.name, bool(peer.missing)) for peer in report.peers] == [("fake", False), ("absent", True)]
    assert not any(row.library == "absent" for row in report.calls)
    assert report.differences == ()


@pytest.mark.peer
@pytest.mark.parametrize("name", peers.NAMES)
def test_an_installed_peer_agrees_with_us(name):
    """In a process of its own, since libraries keep threads and settings."""
    products = [
        "33x17x65:int8",
        "32x48x64:bf16",
        "64x64x64:fp16",
        "2x16x32x64:int8",
        "2x16x32x64:bf16",
        "33x17x65@128:int8",
        "32x48x64@70:bf16",
        "33x16x64@65:fp16",
    ]
    child = children.run(
        [
            sys.executable, "-c", "import sys; from amx.cli import main; sys.exit(main())",
            "bench", "--quick", "--json", "--peers", name, *products,
        ],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    report = json.loads(child.stdout)
    (facts,) = report["peers"]
    if facts["missing"]:
        pytest.skip(f"{name} is missing: {facts['missing']}")
    theirs = [row for row in report["calls"] if row["library"] == name]
    assert not [row["reason"] for row in theirs if row["reason"].startswith("failed")]
    measured = [row for row in theirs if row["seconds"]]
    wrong = {
        row["wrong"] for row in theirs if row["wrong"]
    }  # on this machine; they are said not to be ranked
    assert measured or wrong
    print(facts["version"], wrong, {(row["dtype"], row["form"]): row["amx"] for row in measured})
