"""Times of a new token in sampling: transformers' own loop beside ours, and what memory allows.

All ways sample after the same prompt, with the same weights and a LoRA adapter as a step has it, in
turn, in one process. Timed are the tokens after the first, so neither the encoder nor the prefill
counts.
"""

import statistics
import tempfile
from pathlib import Path

import torch
from peft import get_peft_model
from tqdm.auto import tqdm
from transformers import StoppingCriteria

from .. import grpo, models
from ..audio import load_audio
from ..fast.encoder import embeddings
from ..fast.merged_sampling import merged_where_exact
from ..fast.one_token import OneToken
from ..fast.prefill import prefilled_once
from ..fast.static_shapes import StaticOneToken
from ..profiles import Profile
from ..prompts import prompt, with_audio
from . import bench
from .bench_meter import now
from .spoken import spoken_questions

WAYS = {  # of passing a new token, and what passes it
    "transformers": ("transformers, the prompt held by each row", None),
    "shared": ("transformers' layers, the prompt held once", None),
    "one_token": ("one call for small layers, the prompt held once", OneToken),
    "static": ("the same in static shapes, on a GPU as a CUDA graph", StaticOneToken),
}
COPIED = 2**28  # bytes, of which the memory's bandwidth is measured


class Clock(StoppingCriteria):
    """When each new token is there, in seconds; it stops nothing."""

    def __init__(self):
        self.times: list[float] = []

    def __call__(self, input_ids, scores, **_):
        self.times.append(now())
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


def measure(
    profile: Profile,
    *,
    audio_seconds: float = 60.0,
    group: int = 8,
    new_tokens: int | None = None,
    random_weights: bool = False,
    repeats: int = 3,
) -> dict:
    """Milliseconds of a new token of `group` rows in each of `WAYS`: medians of `repeats`, after a
    first that doesn't count. Returns what `bench decode --json` writes."""
    new_tokens = new_tokens or profile.max_completion_length
    sizes = {"audio_seconds": audio_seconds, "group": group, "new_tokens": new_tokens}
    profile = bench.at_sizes(profile, **sizes)
    processor = bench.processor_for(profile, random_weights)
    thinker = bench.thinker_for(profile, processor, random_weights)
    model = get_peft_model(thinker, grpo.lora_config(profile)).eval()
    with tempfile.TemporaryDirectory() as folder:
        clip = load_audio(spoken_questions(1, audio_seconds, Path(folder))[0]["audio"])
    asked = [with_audio(prompt(), clip)] * group
    batch = models.encoded(processor, asked, device=model.device)
    times = {way: [] for way in WAYS}
    turns = [way for _ in range(repeats + 1) for way in WAYS]
    for way in tqdm(turns, desc="decoding", leave=False):
        times[way].append(token_ms(model, batch, way, new_tokens))
    found = {way: statistics.median(each[1:]) for way, each in times.items()}
    facts = bench.facts_of(
        profile, model, audio_seconds=audio_seconds, random_weights=random_weights
    )
    read = bytes_read(thinker, batch, group=group, new_tokens=new_tokens)
    limit = 1000 * read / bandwidth(model.device)
    return facts | {"token_ms": found, "megabytes_read": read / 1e6, "limit_ms": limit}


@torch.no_grad()
def token_ms(model, batch: dict[str, torch.Tensor], way: str, new_tokens: int) -> float:
    """Milliseconds of a new token of all rows of a PEFT model, sampled in one of `WAYS`."""
    clock = Clock()
    options = {"do_sample": True, "top_k": 0, "top_p": 1.0, "stopping_criteria": [clock]}
    options |= {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
    if way == "transformers":
        model.generate(**batch, **options)
    else:
        thinker = model.get_base_model()
        text = {name: batch[name] for name in ("input_ids", "attention_mask")}
        embeds = embeddings(thinker, batch)
        embeds = [embeds[0]] * len(embeds)  # one clip, and so one prompt
        one_token = WAYS[way][1]
        with merged_where_exact(model), prefilled_once(thinker, embeds, lambda _: one_token):
            model.generate(**text, **options)
    return 1000 * (clock.times[-1] - clock.times[0]) / (len(clock.times) - 1)


def bytes_read(thinker, batch: dict[str, torch.Tensor], *, group: int, new_tokens: int) -> float:
    """Bytes that a token of all rows has to read: each weight of the language model and its head
    once, keys and values of the prompt once, and of each row those of half the new tokens."""
    language = thinker.model.language_model
    head = thinker.get_output_embeddings().weight
    weights = [*language.layers.parameters(), *language.norm.parameters(), head]
    config = language.config
    width = config.hidden_size // config.num_attention_heads
    states = 2 * config.num_hidden_layers * config.num_key_value_heads * width  # of a token
    tokens = batch["input_ids"].shape[1] + group * new_tokens / 2
    return sum(own.nbytes for own in weights) + tokens * states * thinker.dtype.itemsize


def bandwidth(device) -> float:
    """Bytes a second that the device's memory reads and writes: of a copy, the best of five."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(5):
        start = now()
        target.copy_(source)
        best = min(best, now() - start)
    return 2 * COPIED / best


def table(result: dict) -> str:
    """What `measure` found, for a person."""
    sizes = f"{result['group']} completions of {result['new_tokens']} tokens"
    sizes = f"{result['audio_seconds']:g} s of audio, {sizes}"
    limit, theirs = result["limit_ms"], result["token_ms"]["transformers"]
    lines = [
        f"profile {result['profile']} on {result['card']}: {sizes}",
        f"{'':52}{'ms a token':>11}{'tokens/s':>10}{'ratio':>7}{'limit':>7}",
    ]
    for way, (words, _) in WAYS.items():
        ms = result["token_ms"][way]
        speed = f"{1000 * result['group'] / ms:10,.0f}{theirs / ms:7.1f}{ms / limit:6.1f}×"
        lines.append(f"{words:52}{ms:11.2f}{speed}")
    read = f"{result['megabytes_read']:,.0f} MB read for each token take {limit:.2f} ms at the"
    return "\n".join([*lines, f"limit: {read} speed of a copy"])
