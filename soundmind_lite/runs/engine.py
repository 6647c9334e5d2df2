"""Rollouts on an engine: a vLLM server samples on one card while another card trains.

vLLM can't be installed beside the pinned transformers, so its server has an environment of its own.
It gets each distinct prompt once, the clip as samples and one placeholder for it; the ids to which
it expands the prompt must be those that are scored here. Before each generation it loads the
adapter as it is then.

The log-probs that it sends go where TRL keeps those of its own vLLM. From there on TRL's trainer is
at work: it scores the completions once more before the loss, logs by how much the two differ, and
weighs the loss by their ratio, as `vllm_importance_sampling_correction`, `…_mode`, `…_clip_min` and
`…_clip_max` of GRPOConfig say. `runs.sampling` warns where precision doesn't explain a difference.
TRL's own client (trl/generation, 1.16) isn't used: it imports vLLM, has no parts for audio, and
sends merged weights over NCCL. `runs.engine_http` holds what is asked over HTTP.

Run with vLLM 0.32 on a CPU and the tiny model: log-probs differ by 3e-7 on average in float32, by
1e-4 to 1e-3 in bfloat16. The tests have a stand-in for it, tests/engine/stand_in.py. Not run: a
GPU, a real checkpoint, a server on another machine.
"""

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save
from torch.nn.utils.rnn import pad_sequence

from ..fast.grouping import distinct, prompt_key
from ..profiles import one_of
from .engine_http import EngineError, Server, completions, request

ROLLOUTS = ("transformers", "vllm")
FOLDER = "rollout_adapter"  # in output_dir; in it a folder named after its content, with WEIGHTS
WEIGHTS = "adapter_model.safetensors"
# How our adapter names the layers of the language model, and how one of the hub's checkpoint does
HERE, ON_HUB = "base_model.model.model.language_model.", "base_model.model.thinker.model."
NEVER = -100  # the bias of a logit that keeps its token from being sampled


def options(rollouts: str, server: str | None, *, model: str, setting: str) -> dict:
    """What `grpo.trainer_for` takes for `rollouts`, one of ROLLOUTS, and the URL of a server.

    ValueError for what doesn't go together, EngineError if no server answers there, or one with
    another model than `model`, a folder or hub id.
    """
    if one_of(ROLLOUTS, rollouts, what="rollouts") == "transformers":
        if server is not None:
            raise ValueError(f"server={server!r} goes with rollouts='vllm'; give both or neither")
        return {}
    if server is None or not server.startswith(("http://", "https://")):
        example = "server='http://127.0.0.1:8000'"
        raise ValueError(f"rollouts='vllm' needs the server's URL, such as {example}")
    if setting.endswith("-audio"):
        raise ValueError(f"rollouts='vllm' is for written answers, and setting is {setting!r}")
    Server(server, timeout=10).check(model)
    return {"vllm_server_base_url": server}


class EngineRollouts:
    """Mixin for AudioGRPOTrainer, outside `SamplingIsThePolicy`: completions come from the vLLM
    server at `args.vllm_server_base_url`, if there is one and TRL's own vLLM is off.

    A request may take `args.vllm_server_timeout` seconds. Each process asks for its own rows; the
    first writes the adapter to a folder in `args.output_dir`, which the server must see under the
    same path. Raises EngineError if the server can't be used or answers something else, and
    NotImplementedError for a model without LoRA, in pieces, or of another family.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        url = None if self.use_vllm else self.args.vllm_server_base_url
        self._engine = Server(url, self.args.vllm_server_timeout) if url else None
        self._adapter: str | None = None  # its name on the server
        self._row_names: list[str] = []  # of the rows that are sampled
        self._chats: list = []  # their prompts, of equal ones the first with its clips as arrays
        self._prompt_index: tuple[list, list] = ([], [])  # `distinct` of these prompts
        if self._engine:
            self._check_engine()
            self.remedy = f"{self._engine.url} must serve the run's checkpoint and apply its LoRA"

    def _check_engine(self) -> None:
        model = self.accelerator.unwrap_model(self.model)
        why = None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            why = "the model is in pieces; launch with ddp.yaml"
        elif not isinstance(model, PeftModel):
            why = "the server reloads a LoRA, and this model has none; give peft_config"
        elif self._family.name != "Qwen2.5-Omni":
            why = f"adapters of {self._family.name} would need other names; leave it out"
        if why:
            raise NotImplementedError(f"rollouts on a vLLM server: {why}")

    def _generate_and_score_completions(self, inputs):
        if not self._engine:
            return super()._generate_and_score_completions(inputs)
        self._row_names = [str(row.get("id", "without id")) for row in inputs]
        try:
            return super()._generate_and_score_completions(inputs)
        finally:
            self.use_vllm = False

    def _tokenize_prompts(self, prompts):
        if self._engine:
            self._prompt_index = distinct([prompt_key(prompt) for prompt in prompts])
            self._chats = prompts  # in which the clips are read now, in place
        return super()._tokenize_prompts(prompts)

    def _generate_single_turn(self, prompt_ids, *args, **kwargs):
        if not self._engine:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        self._adapter = self._reloaded()
        sampled = self._complete(prompt_ids)
        self.use_vllm = True  # for TRL's correction, until these rows are scored
        log_probs = [values for _, values in sampled]
        rows = [torch.tensor(values, device=self.accelerator.device) for values in log_probs]
        self._sampled = pad_sequence(rows, batch_first=True)
        return [ids for ids, _ in sampled], log_probs

    def _complete(self, prompt_ids) -> list[tuple[list[int], list[float]]]:
        """For each row the ids of a completion and their log-probs."""
        firsts, index = self._prompt_index
        seeds = torch.randint(2**31, (len(firsts),)).tolist()  # as checkpoints restore them

        def ask(number: int) -> list[tuple]:
            row, n = firsts[number], index.count(number)
            asked = {"model": self._adapter, "n": n, "seed": seeds[number]}
            body = request(self._chats[row], **asked, sampling=self._sampling())
            name = self._row_names[row]
            answer = self._engine.complete(body, name)
            return completions(answer, prompt_ids=list(prompt_ids[row]), row=name, n=n)

        with ThreadPoolExecutor(len(firsts)) as pool:
            groups = [iter(group) for group in pool.map(ask, range(len(firsts)))]
        return [next(groups[number]) for number in index]

    def _sampling(self) -> dict:
        """The fields of a request that say how tokens are drawn, as the trainer would draw them."""
        never = {str(token): NEVER for token in self.generation_config.suppress_tokens}
        fields = {
            "max_completion_tokens": self.max_completion_length,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k or 0,
            "min_p": self.min_p or 0.0,
            "repetition_penalty": self.repetition_penalty,
            "stop_token_ids": self.eos_token_ids,
            "logit_bias": never,
        }
        return fields | (self.args.generation_kwargs or {})

    def _reloaded(self) -> str:
        """The name under which the server has the adapter as it is now."""
        found = [None]
        if self.accelerator.is_main_process:
            try:
                found = [self._load()]
            except EngineError as error:  # which the other processes wait for
                found = [error]
        (found,) = broadcast_object_list(found)
        if isinstance(found, EngineError):
            raise found
        return found

    def _load(self) -> str:
        model = self.accelerator.unwrap_model(self.model)
        content = save(on_hub(get_peft_model_state_dict(model)))
        name = f"soundmind-{hashlib.blake2b(content).hexdigest()[:16]}"
        folder = Path(self.args.output_dir).resolve() / FOLDER / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WEIGHTS).write_bytes(content)
        model.peft_config["default"].save_pretrained(folder)
        self._engine.load(name, folder, instead_of=self._adapter)
        for earlier in folder.parent.glob("soundmind-*"):
            if earlier != folder:
                shutil.rmtree(earlier)
        return name

    def _compute_loss(self, model, inputs):
        with corrected(self) if self._engine else nullcontext():
            return super()._compute_loss(model, inputs)


@contextmanager
def corrected(trainer):
    """Within it TRL weighs the loss as it does for completions of its own vLLM."""
    trainer.use_vllm = True
    try:
        yield
    finally:
        trainer.use_vllm = False


def on_hub(adapter: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of an adapter, on the CPU, under the names of the hub's checkpoint, which the
    server knows; NotImplementedError for one that isn't of the language model."""
    outside = [name for name in adapter if not name.startswith(HERE)]
    if outside:
        what = f"{outside[0]} is not of the language model"
        raise NotImplementedError(f"rollouts on a vLLM server: {what}; leave it out of the LoRA")
    renamed = {name.replace(HERE, ON_HUB, 1): values for name, values in adapter.items()}
    return {name: values.detach().cpu().contiguous() for name, values in renamed.items()}
