"""A stand-in for a vLLM server: a process that runs the tiny model and speaks the same HTTP.

    PYTHONPATH=. python tests/engine/stand_in.py --model assets/tiny_omni

prints its port, and serves until it is ended. It knows what `runs.engine` asks for: /v1/models,
/v1/load_lora_adapter, /v1/unload_lora_adapter and /v1/chat/completions, with vLLM's field names.
It expands prompts with its own processor, and knows adapters by the names of the hub's checkpoint
alone, as vLLM does. /stand_in takes `{"fault": NAME}`, one of FAULTS, forgets all adapters, and
answers with what was asked of it since the last time.
"""

import argparse
import base64
import contextlib
import io
import json
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import soundfile
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
from safetensors.torch import load_file

from soundmind_lite import models

FAULTS = (
    "none",
    "stale",  # answers that it has loaded each adapter, and keeps the first
    "no runtime LoRA",  # as without VLLM_ALLOW_RUNTIME_LORA_UPDATING
    "refuses",  # the adapter, as where its rank is too large
    "other prompt",  # one placeholder less
    "no ids",  # as an OpenAI-compatible server that isn't vLLM
    "no log-probs",
    "NaN",  # for a log-prob
    "slow",  # seconds for each completion
)
ON_HUB, HERE = ".thinker.model.", ".model.language_model."


class Refused(Exception):
    """An answer other than 200."""


class Engine:
    """The tiny model with the adapters that were loaded."""

    def __init__(self, path: Path, processed: bool = False):
        self.path = path
        self.processed = processed  # log-probs of what is drawn from, temperature and bias included
        self.model, self.processor = models.load_thinker(path), models.load_processor(path)
        # name → folder, and its weights, or None where they made room for others
        self.adapters: dict[str, tuple[Path, dict | None]] = {}
        self.last: dict | None = None  # the weights that were loaded last
        self.fault = "none"
        self.asked: list[tuple[str, str]] = []  # (path, name of an adapter)
        self.lock = threading.Lock()

    def served(self) -> list[dict]:
        base = {"id": str(self.path), "root": str(self.path), "object": "model"}
        own = [
            {"id": name, "root": str(at), "parent": str(self.path)}
            for name, (at, _) in self.adapters.items()
        ]
        return [base, *own]

    def load(self, lora_name: str, lora_path: str, load_inplace: bool = False) -> str:
        if self.fault == "no runtime LoRA":
            raise Refused(HTTPStatus.NOT_FOUND, "Not Found")
        folder = Path(lora_path)
        config = LoraConfig.from_pretrained(folder)
        config.base_model_name_or_path = None  # which PEFT would compare with this model's path
        if self.fault == "refuses":
            raise Refused(HTTPStatus.INTERNAL_SERVER_ERROR, f"LoRA rank {config.r} is too large")
        if lora_name in self.adapters and not load_inplace:
            raise Refused(HTTPStatus.BAD_REQUEST, f"{lora_name} has already been loaded")
        if not hasattr(self.model, "peft_config"):
            self.model = get_peft_model(self.model, config).eval()
        weights = read(folder)
        if self.fault == "stale" and self.last is not None:
            weights = self.last
        self.last = weights
        self.adapters = {name: (at, None) for name, (at, _) in self.adapters.items()}
        self.adapters[lora_name] = (folder, weights)  # there is room for one
        return f"Success: LoRA adapter '{lora_name}' added successfully."

    def unload(self, lora_name: str) -> str:
        if lora_name not in self.adapters:
            raise Refused(HTTPStatus.NOT_FOUND, f"{lora_name} cannot be found")
        del self.adapters[lora_name]
        return f"Success: LoRA adapter '{lora_name}' removed successfully."

    @torch.no_grad()
    def complete(self, asked: dict) -> dict:
        if asked["model"] not in self.adapters:
            raise Refused(HTTPStatus.NOT_FOUND, f"The model `{asked['model']}` does not exist.")
        if self.fault == "slow":
            time.sleep(3)
        folder, weights = self.adapters[asked["model"]]
        set_peft_model_state_dict(self.model, weights or read(folder))
        inputs = self.inputs(asked["messages"])
        torch.manual_seed(asked["seed"])
        never = [int(token) for token, bias in asked["logit_bias"].items() if bias == -100]
        output = self.model.generate(
            **inputs,
            do_sample=True,
            num_return_sequences=asked["n"],
            max_new_tokens=asked["max_completion_tokens"],
            temperature=asked["temperature"],
            top_p=asked["top_p"],
            top_k=asked["top_k"],
            suppress_tokens=never,
            eos_token_id=asked["stop_token_ids"],
            output_logits=True,
            output_scores=True,
            return_dict_in_generate=True,
        )
        prompt_ids = inputs["input_ids"][0].tolist()
        drawn = output.sequences[:, len(prompt_ids) :]
        scores = output.scores if self.processed else output.logits
        scores = torch.stack(scores, 1).float().log_softmax(-1)
        values = scores.gather(2, drawn[..., None])[..., 0].tolist()
        rows = enumerate(zip(drawn.tolist(), values))
        choices = [self.choice(i, *row, asked["stop_token_ids"]) for i, row in rows]
        if self.fault == "other prompt":
            prompt_ids.remove(self.model.config.audio_token_id)
        answer = {"model": asked["model"], "choices": choices, "prompt_token_ids": prompt_ids}
        if self.fault == "no ids":
            answer["prompt_token_ids"] = None
        return answer

    def choice(self, index: int, ids: list[int], values: list[float], stops: list[int]) -> dict:
        end = next((i + 1 for i, token in enumerate(ids) if token in stops), len(ids))
        ids, values = ids[:end], values[:end]
        if self.fault == "NaN":
            values[0] = None
        tokens = [{"token": f"token_id:{t}", "logprob": v} for t, v in zip(ids, values)]
        log_probs = None if self.fault == "no log-probs" else {"content": tokens}
        text = self.processor.tokenizer.decode(ids, skip_special_tokens=True)
        message = {"role": "assistant", "content": text}
        return {"index": index, "message": message, "logprobs": log_probs, "token_ids": ids}

    def inputs(self, messages: list[dict]) -> dict:
        """A conversation with clips as WAV files, through its own template and processor."""
        clips, turns = [], []
        for turn in messages:
            content = turn["content"]
            if isinstance(content, list):
                for part in content:
                    if part["type"] == "input_audio":
                        wav = io.BytesIO(base64.b64decode(part["input_audio"]["data"]))
                        clips.append(soundfile.read(wav, dtype="float32")[0])
                kinds = {"input_audio": "audio"}
                content = [
                    {**part, "type": kinds.get(part["type"], part["type"])} for part in content
                ]
            turns.append({"role": turn["role"], "content": content})
        text = self.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        batch = self.processor(text=[text], audio=clips or None, return_tensors="pt")
        names = ("input_ids", "attention_mask", "input_features", "feature_attention_mask")
        return {name: batch[name] for name in names if name in batch}

    def answer(self, path: str, asked: dict | None):
        """What a request is answered: a string, or an object."""
        if path == "/stand_in":
            self.fault, before = asked.get("fault", "none"), self.asked
            self.asked, self.adapters, self.last = [], {}, None
            return before
        with self.lock:
            self.asked.append((path, (asked or {}).get("lora_name") or (asked or {}).get("model")))
            if path == "/v1/models":
                return {"object": "list", "data": self.served()}
            if path == "/v1/load_lora_adapter":
                return self.load(**asked)
            if path == "/v1/unload_lora_adapter":
                return self.unload(**asked)
            if path == "/v1/chat/completions":
                return self.complete(asked)
        raise Refused(HTTPStatus.NOT_FOUND, "Not Found")


def read(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an adapter, of those layers that are known by their names."""
    found = load_file(folder / "adapter_model.safetensors")
    return {name.replace(ON_HUB, HERE): v for name, v in found.items() if ON_HUB in name}


def decoded(clip: dict):
    """The samples of a clip as a client sends it, at the rate of its file."""
    return soundfile.read(io.BytesIO(base64.b64decode(clip["data"])), dtype="float32")[0]


class Handler(BaseHTTPRequestHandler):
    engine: Engine

    def do_GET(self):
        self.reply(None)

    def do_POST(self):
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, asked: dict | None):
        status = HTTPStatus.OK
        try:
            content = self.engine.answer(self.path, asked)
        except Refused as error:
            status, message = error.args
            content = {"error": {"message": message, "code": int(status)}}
        content = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # of a client that has waited long enough
            self.wfile.write(content.encode())

    def log_message(self, *_):
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    modes = ("raw_logprobs", "processed_logprobs")  # two of vLLM's, its default first
    parser.add_argument("--logprobs-mode", choices=modes, default=modes[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    Handler.engine = Engine(args.model, args.logprobs_mode == "processed_logprobs")
    server = ThreadingHTTPServer(("127.0.0.1", args.port), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
