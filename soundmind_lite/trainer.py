"""AudioGRPOTrainer: TRL's GRPOTrainer with the audio in every log-prob pass.

Plain GRPOTrainer samples completions conditioned on the audio and scores them without it: the
processor's features reach `generate` and are dropped before each log-prob pass, with no error.
Here they travel with their rows from sampling to the loss. `tests/test_trl.py` names what this
relies on in TRL. What differs between models is in `families`, guards are in `runs.guards`,
faster passes in `fast.shared_prefix`.
"""

import inspect
from functools import partial

import torch
from datasets import Dataset
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from . import models
from .audio import load_clip
from .profiles import one_of
from .prompts import audio_parts, with_audio

ALGORITHMS = ("grpo", "reinforce++")
TRL_SIGNATURE = inspect.signature(GRPOTrainer)
ALGORITHM = inspect.Parameter("algorithm", inspect.Parameter.KEYWORD_ONLY, default="grpo")


class AudioGRPOTrainer(GRPOTrainer):
    """GRPOTrainer for rows with an `audio` column beside a conversational `prompt`.

    Takes GRPOTrainer's arguments in its order, and `algorithm`: "reinforce++" has the advantages of
    `runs.reinforce`, and no KL in the loss. A row's `audio` is a path, a float array at 16 kHz,
    `{"path", "bytes"}`, a `datasets.Audio` value, or None; it becomes the first part of the
    prompt's last user turn. `processing_class` defaults to the checkpoint's own.

    Raises NotImplementedError where TRL would score without the audio (vLLM, `rollout_func`,
    audio with images), AudioError, naming the row, for a clip that can't be used, and ValueError
    if no family here has the model, or a prompt's audio placeholders and features don't match.
    """

    __signature__ = TRL_SIGNATURE.replace(
        parameters=[*TRL_SIGNATURE.parameters.values(), ALGORITHM]
    )

    def __init__(self, *args, algorithm: str = "grpo", **kwargs):
        from . import families  # what is the model's own; the method is the same for all
        from .runs.reward_checks import checked_arguments  # of rows and rewards, by what they are

        given = checked_arguments(TRL_SIGNATURE.bind(*args, **kwargs).arguments)
        self.algorithm = one_of(ALGORITHMS, algorithm, what="algorithm")
        self._audio: dict[str, list[torch.Tensor]] = {}  # of the rows that are sampled or scored
        self._prompts: list | None = None  # of rows with audio, before it became a part
        self._summed_rewards: torch.Tensor | None = None  # (N,), of all processes
        if isinstance(given["model"], str):
            options = {"dtype": "float32"}
            options |= getattr(given.get("args"), "model_init_kwargs", None) or {}
            if "quantization_config" in given:
                options["quantization_config"] = given.pop("quantization_config")
            given["model"] = models.load_thinker(given["model"], **options)
        if given.get("processing_class") is None:
            given["processing_class"] = models.load_processor(given["model"].config._name_or_path)
        rows = given["train_dataset"]
        if isinstance(rows, Dataset) and len(rows) and rows[0].get("audio") is not None:
            check_sampling(getattr(given.get("args"), "use_vllm", False), given.get("rollout_func"))
        self._family = families.of(given["model"].config)
        given["peft_config"] = self._family.lora(given.get("peft_config"))
        # the keys of a batch with one tensor a row, which TRL shuffles and splits like any list
        self.audio_fields: tuple[str, ...] = self._family.fields
        with self._family.with_pictures():
            super().__init__(**given)
        self._audio_token = self._family.audio_token
        # TRL suppresses the image placeholder alone, in two copies of the same settings
        suppressed = {*self._family.placeholders, *(self.generation_config.suppress_tokens or ())}
        self.generation_config.suppress_tokens = sorted(suppressed)
        self.generation_kwargs["suppress_tokens"] = sorted(suppressed)
        if getattr(self.model, "is_loaded_in_4bit", False):
            # TRL casts the adapter to bfloat16, where updates at a small rate round to nothing
            for parameter in [p for p in self.model.parameters() if p.requires_grad]:
                parameter.data = parameter.data.float()

    def _set_signature_columns_if_needed(self):
        super()._set_signature_columns_if_needed()
        if "audio" not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, "audio"]

    # 1. Sampling: the row's audio becomes a part of its prompt, and the part becomes features

    def _generate_and_score_completions(self, inputs):
        self._audio, self._prompts = {}, None
        if any(row.get("audio") is not None for row in inputs):
            check_sampling(self.use_vllm, self.rollout_func)
            self._prompts = [row["prompt"] for row in inputs]
            inputs = [with_audio_part(row) for row in inputs]
        output = super()._generate_and_score_completions(inputs)
        if self.algorithm == "reinforce++":
            from .runs.reinforce import replace_advantages  # the method can do without

            replace_advantages(self, output)
        output.update(self._audio)
        return output

    def _tokenize_prompts(self, prompts):
        parts = audio_parts(prompts)
        for part in parts:  # TRL has copied the prompts
            limit = self._family.max_seconds(self.processing_class)
            name = part.pop("row", "without id")
            part["audio"] = load_clip(name, part["audio"], max_seconds=limit)
        tokenize = super()._tokenize_prompts
        prompt_ids, images, fields = self._family.tokenized(tokenize, prompts)
        if parts:
            features = self._family.prepared(fields, self.model.dtype)
            features = {name: v.to(self.accelerator.device) for name, v in features.items()}
            self._audio = self._family.by_prompt(features, prompt_ids)
            fields |= features
        return prompt_ids, images, fields

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list):
        prompts = self._prompts or prompts  # rewards find the audio in its column
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        summed = (rewards * self.reward_weights.to(rewards.device)).nansum(dim=1)
        self._summed_rewards = summed.masked_fill(rewards.isnan().all(dim=1), torch.nan)
        return rewards

    # 2. Scoring: every log-prob pass gets the features of its rows

    def _compute_loss(self, model, inputs):
        self._audio = {name: inputs[name] for name in self.audio_fields if name in inputs}
        if self.algorithm == "reinforce++":
            from .runs.reinforce import kl_in_the_reward

            with kl_in_the_reward(self):
                return super()._compute_loss(model, inputs)
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs
    ):
        """TRL's log-prob pass over rows (N, tokens), in the chunks that TRL would make."""
        if kwargs.get("pixel_values") is not None:
            if self._audio:
                raise NotImplementedError("audio and images in one batch")
            kwargs["batch_size"] = batch_size
            return self._trl_log_probs(model, input_ids, attention_mask, logits_to_keep, **kwargs)
        size = batch_size or len(input_ids)
        chunks = []
        for start in range(0, len(input_ids), size):
            rows = slice(start, start + size)
            audio = {name: values[rows] for name, values in self._audio.items()}
            self._check_placeholders(input_ids[rows], audio)
            tokens = (input_ids[rows], attention_mask[rows], logits_to_keep)
            chunks.append(self._score_rows(model, *tokens, audio, **kwargs))
        return concatenated(chunks)

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        """Log-probs of a chunk of rows. TRL uses the model as a callable, so binding the features
        to it is all that is needed."""
        features = {name: torch.cat(values) for name, values in audio.items()}
        conditioned = partial(model, **features) if any(map(len, features.values())) else model
        return self._trl_log_probs(conditioned, input_ids, attention_mask, logits_to_keep, **kwargs)

    def _trl_log_probs(self, model, *args, **kwargs):
        return super()._get_per_token_logps_and_entropies(model, *args, **kwargs)

    def _check_placeholders(self, input_ids, audio) -> None:
        """Transformers ignores surplus features silently: every later clip would be misplaced."""
        expected = sum(self._tokens_of(audio))
        found = int((input_ids == self._audio_token).sum())
        if expected != found:
            raise self._family.mismatch(found, expected)

    def _tokens_of(self, audio) -> list[int]:
        """The audio tokens that the features of each row make."""
        fields = [dict(zip(audio, row)) for row in zip(*audio.values())]
        return [int(self._family.tokens(row).sum()) for row in fields]


def check_sampling(use_vllm: bool, rollout_func) -> None:
    """NotImplementedError where completions of audio rows would be scored without the audio."""
    if use_vllm or rollout_func is not None:
        what = "with use_vllm or a rollout_func, TRL would score audio rows without their audio"
        raise NotImplementedError(f"{what}; leave both out")


def with_audio_part(row: dict) -> dict:
    """The row with its audio in its prompt, in parts, marked with the row's id for errors."""
    prompt = prepare_multimodal_messages(with_audio(row["prompt"], row.get("audio")))
    for part in audio_parts([prompt]):
        part["row"] = str(row.get("id", "without id"))
    return {**row, "prompt": prompt}


def concatenated(chunks: list[tuple]) -> tuple:
    """Log-probs, entropies and auxiliary losses of chunks of rows, as TRL returns them."""
    log_probs, entropies, aux_losses = zip(*chunks)
    entropies = torch.cat(entropies) if entropies[0] is not None else None
    aux_loss = torch.stack(aux_losses).mean() if aux_losses[0] is not None else None
    return torch.cat(log_probs), entropies, aux_loss
