"""What a vLLM server is asked and answers, over HTTP: models, adapters, completions.

Facts of vLLM that this relies on, read in the source of 0.32 and tried with its CPU build and a
full checkpoint of the tiny model (`scale.peers.write_full`); TRL 1.16 asks for 0.22 to 0.31:

- `/v1/chat/completions` takes clips as `input_audio` parts, in base64. `return_token_ids` adds the
  ids of the prompt, placeholders expanded, and of each completion; with
  `return_tokens_as_token_ids` log-probs name their tokens by id. (vllm/entrypoints/openai)
- `logit_bias` of -100 keeps a token from being sampled. Log-probs are the model's own, before bias
  and temperature; with `--logprobs-mode processed_logprobs`, which TRL asks for, those after them.
- `/v1/load_lora_adapter` is there with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True alone, and reads a
  folder. Cached KV blocks are told apart by the adapter's name and path, not by its content, so a
  name that is loaded again, `load_inplace`, may continue old ones (issue 42125). An adapter that
  made room for others is read again, whatever its folder holds by then (tried: 0.03 off). Here each
  adapter has a name and a folder of its own.
- The thinker of Qwen2.5-Omni takes LoRA on its language model (pull request 24231), under the
  names of the hub's checkpoint. Names that match no layer are ignored without an error: tried,
  log-probs then differ by 0.004 after one step of the tiny model, and not by 4e-7.
"""

import base64
import io
import json
import math
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np

from ..audio import SAMPLE_RATE

NEEDED = "rollouts='vllm' needs vLLM's own server, 0.22 or later"
START = "start it as assets/site/real_model.md says"
DIRECT = build_opener(ProxyHandler({}))  # a proxy for the internet knows no server in the house


class EngineError(RuntimeError):
    """The server of completions can't be reached or used, or its answer doesn't fit the rows."""


class Server:
    """A vLLM server. EngineError where it fails, refuses, or takes longer than `timeout` seconds
    for a request."""

    def __init__(self, url: str, timeout: float):
        self.url = url.rstrip("/")
        self.timeout = timeout

    def call(self, path: str, body: dict | None = None) -> bytes:
        """The answer to a POST of the body as JSON, or to a GET without one."""
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, content, {"Content-Type": "application/json"})
        try:
            with DIRECT.open(request, timeout=self.timeout) as answer:
                return answer.read()
        except HTTPError as error:
            said = message(error.read())
            raise EngineError(f"{self.url}{path} answered {error.code}: {said:.300}") from error
        except (OSError, HTTPException) as error:
            why = getattr(error, "reason", error)
            if isinstance(why, TimeoutError):
                what = f"{self.url}{path} has not answered within {self.timeout:g} s"
                raise EngineError(f"{what}; raise vllm_server_timeout, or sample less") from error
            raise EngineError(f"{self.url} can't be reached ({why}); {START}") from error

    def models(self) -> list[dict]:
        """What it serves: each with `id`, a checkpoint also with its `root`, adapters with the
        `parent` that they belong to."""
        try:
            served = json.loads(self.call("/v1/models"))["data"]
            return [{"id": own["id"], **own} for own in served]
        except (ValueError, KeyError, TypeError) as error:
            raise EngineError(f"{self.url} is no vLLM server: /v1/models is no list") from error

    def check(self, model: str | Path) -> None:
        """EngineError if it serves another checkpoint, by the last part of its name."""
        bases = [own for own in self.models() if not own.get("parent")]
        names = dict.fromkeys(
            name for own in bases for name in (own["id"], own.get("root")) if name
        )
        if Path(model).name not in [Path(name).name for name in names]:
            remedy = "start it with that checkpoint, or with --served-model-name"
            served = " and ".join(names) or "nothing"
            raise EngineError(f"{self.url} serves {served}, and the run trains {model}; {remedy}")

    def load(self, name: str, folder: Path, *, instead_of: str | None = None) -> None:
        """Has it load the adapter in a folder that it can read, and forget an earlier one. A name
        that it knows from another folder, it loads anew."""
        loaded = {own["id"]: own.get("root") for own in self.models()}
        if loaded.get(name) == str(folder):
            return
        for earlier in {name, instead_of} & loaded.keys():
            self.call("/v1/unload_lora_adapter", {"lora_name": earlier})
        try:
            self.call("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        except EngineError as error:
            what = f"the server doesn't load the adapter in {folder}: {error}"
            needs = "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, --enable-lora, --max-lora-rank"
            raise EngineError(f"{what}; it needs {needs}, and that folder") from error

    def complete(self, body: dict, row: str) -> dict:
        """The answer to the body of a `request`, of the row that an error names."""
        try:
            return json.loads(self.call("/v1/chat/completions", body))
        except (EngineError, ValueError) as error:
            raise EngineError(f"row {row}: {error}") from error


def message(body: bytes) -> str:
    """What an error's body says: in vLLM's form, `{"error": {"message"}}`, or as it is."""
    try:
        return json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")


def request(prompt: list[dict], *, model: str, n: int, seed: int, sampling: dict) -> dict:
    """The body that asks for `n` completions of a conversation whose clips are arrays, and for
    their ids and the log-prob of each sampled token. `sampling` are further fields of it."""
    body = {"model": model, "messages": messages(prompt), "n": n, "seed": seed}
    body |= {"logprobs": True, "top_logprobs": 0}
    return body | {"return_token_ids": True, "return_tokens_as_token_ids": True, **sampling}


def messages(prompt: list[dict]) -> list[dict]:
    """A conversation with its clips, float arrays at 16 kHz, as WAV files in base64: the server's
    template puts one placeholder for each, and its processor expands that. NotImplementedError for
    a plain string."""
    if isinstance(prompt, str):
        raise NotImplementedError(f"rollouts='vllm' takes conversations, not text: {prompt!r:.60}")
    turns = []
    for turn in prompt:
        content = turn["content"]
        if not isinstance(content, str):
            content = [with_sound(part) if part["type"] == "audio" else part for part in content]
        turns.append({"role": turn["role"], "content": content})
    return turns


def with_sound(part: dict) -> dict:
    import soundfile  # which a run without a server doesn't need

    file = io.BytesIO()
    samples = np.asarray(part["audio"], np.float32)
    soundfile.write(file, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
    data = base64.b64encode(file.getvalue()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def completions(answer: dict, *, prompt_ids: list[int], row: str, n: int) -> list[tuple]:
    """The `n` completions of an answer: of each the token ids and their log-probs, as lists.

    EngineError, naming the row, if the server expanded the prompt to other ids than `prompt_ids`,
    or if completions, ids or log-probs are missing.
    """
    theirs = answer.get("prompt_token_ids")
    choices = sorted(answer.get("choices", ()), key=lambda choice: choice["index"])
    if theirs is None or not all(choice.get("token_ids") for choice in choices):
        raise EngineError(f"row {row}: the server's answer lacks token ids; {NEEDED}")
    if theirs != prompt_ids:
        raise EngineError(f"row {row}: {first_difference(theirs, prompt_ids)}")
    if len(choices) != n:
        raise EngineError(f"row {row}: the server sent {len(choices)} completions, not {n}")
    return [(choice["token_ids"], log_probs(choice, row)) for choice in choices]


def log_probs(choice: dict, row: str) -> list[float]:
    """The log-prob of each token of a completion; EngineError if one is missing or NaN."""
    ids = choice["token_ids"]
    entries = (choice.get("logprobs") or {}).get("content") or []
    if [entry["token"] for entry in entries] != [f"token_id:{token}" for token in ids]:
        what = f"the server sent {len(entries)} log-probs for {len(ids)} tokens, or for others"
        raise EngineError(f"row {row}: {what}; {NEEDED}")
    values = [entry["logprob"] for entry in entries]
    if any(value is None or not math.isfinite(value) for value in values):
        remedy = "lower learning_rate and resume from the last checkpoint"
        raise EngineError(f"row {row}: a log-prob of the server is NaN or infinite; {remedy}")
    return values


def first_difference(theirs: list[int], ours: list[int]) -> str:
    """Where the ids of one prompt, the server's and ours, part, in words."""
    shared = next((i for i, pair in enumerate(zip(theirs, ours)) if pair[0] != pair[1]), None)
    if shared is None:
        shared = min(len(theirs), len(ours))
    there, here = (ids[shared] if shared < len(ids) else "the end" for ids in (theirs, ours))
    what = f"the server's prompt has {len(theirs)} ids, ours {len(ours)}"
    where = f"at position {shared} the server's is {there}, ours {here}"
    remedy = "serve the same checkpoint with its own chat template, and clips of its length"
    return f"{what}; {where}; {remedy}"
