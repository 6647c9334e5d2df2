"""The shared prefix: the audio is encoded and the prompt prefilled once per prompt and step.

In plain GRPO each of the G completions of a group brings its own copy of the prompt, and the audio
encoder and the language model run over every copy: in sampling, in the reference pass and in the
policy pass. Three things are shared here, and the results are the same up to rounding:

- mel features and audio embeddings: once for each distinct clip and step, for all passes if the
  audio encoder is frozen, else for sampling alone;
- the prompt's KV cache: once for each distinct prompt of a pass, continued by its completions;
- padding: no pass runs over columns that are padding in all of its rows, and only completions meet
  the output head.

Where the loss doesn't depend on it (`grouping.order_is_free`), rows move to other micro-batches of
their step, so that groups come together. TRL logs KL, entropy and clipping as means of
micro-batches; these figures then weigh completions otherwise.
"""

import warnings
from contextlib import nullcontext
from functools import partial

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from ..trainer import AudioGRPOTrainer
from .grouping import EMBEDS, by_group, distinct, order_is_free, prefix_keys, prompt_key
from .kv_cache import for_rows
from .prefill import input_embeds, prefill, prefilled_once


class SharedPrefix:
    """Mixin for AudioGRPOTrainer. Same arguments, same results, less time.

    Where a process doesn't hold all parameters (FSDP, ZeRO-3) it does what its parent does. Under
    gradient checkpointing, with several processes, and where TRL asks for the balance of experts,
    the policy pass shares the audio embeddings alone: a KV cache can't be shared between passes
    that are recomputed. A family of models that shares no prefix says so in a warning.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._embeds: list[torch.Tensor] | None = None  # of the rows that are being sampled
        self._last_prefix: tuple[list, DynamicCache] | None = None  # prompts of the last chunk
        self.share(not (self.is_fsdp_enabled or self.is_deepspeed_enabled))
        if self.tools:
            what = "tools change the prompts between samples"
            raise NotImplementedError(f"{what}; use AudioGRPOTrainer")

    def share(self, on: bool) -> None:
        """Turns the sharing on, or off to do what the parent does. To be called between steps."""
        if on and self._family.not_shared:
            what = f"{self._family.name} shares no prefix: {self._family.not_shared}"
            warnings.warn(f"{what}; each completion brings its prompt", UserWarning, stacklevel=3)
            on = False
        encoder = self._family.encoder_parameters(self._thinker(self.model))
        trained = any(parameter.requires_grad for parameter in encoder)
        self._sharing = on
        self._encoder_frozen = on and not trained
        self.audio_fields = (EMBEDS,) if self._encoder_frozen else self._family.fields

    def _thinker(self, model):
        model = self.accelerator.unwrap_model(model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    # Sampling: distinct prompts are encoded and prefilled once

    def _tokenize_prompts(self, prompts):
        self._embeds = None
        if not self._sharing:
            return super()._tokenize_prompts(prompts)
        firsts, index = distinct([prompt_key(prompt) for prompt in prompts])
        ids, images, fields = super()._tokenize_prompts([prompts[i] for i in firsts])
        if self._audio:
            embeds = self._encode(self._audio)
            self._embeds = [embeds[i] for i in index]
            if self._encoder_frozen:
                self._audio = {EMBEDS: embeds}
            self._audio = {name: [v[i] for i in index] for name, v in self._audio.items()}
            fields = {}  # what `generate` needs of the audio is in self._embeds
        return [ids[i] for i in index], images, fields

    @torch.no_grad()
    def _encode(self, audio: dict[str, list[torch.Tensor]]) -> list[torch.Tensor]:
        """The audio embeddings (audio tokens, width) of each row's clips, in one forward pass."""
        features = {name: torch.cat(values) for name, values in audio.items()}
        embeds = self._family.encode(self._thinker(self.model), features)
        return list(embeds.split(self._tokens_of(audio)))

    def _tokens_of(self, audio) -> list[int]:
        return list(map(len, audio[EMBEDS])) if EMBEDS in audio else super()._tokens_of(audio)

    def _generate_single_turn(self, *args, **kwargs):
        thinker = self._thinker(self.model)
        with prefilled_once(thinker, self._embeds) if self._sharing else nullcontext():
            return super()._generate_single_turn(*args, **kwargs)

    def _prepare_inputs(self, generation_batch):
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        fresh = self._buffered_inputs
        # groups come together, short ones with short ones
        may_move = self._sharing and order_is_free(self.args) and not self.aux_loss_enabled
        if fresh is not before and may_move and len(fresh) > 1:
            self._buffered_inputs = by_group(fresh)
            inputs = self._buffered_inputs[self._step % len(fresh)]
        return inputs

    # Scoring: the core's log-prob pass, with a chunk of rows scored after their prompts' KV cache

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        self._last_prefix = None
        try:
            return super()._get_per_token_logps_and_entropies(*args, **kwargs)
        finally:
            self._last_prefix = None

    def _score_rows(self, model, input_ids, attention_mask, logits_to_keep, audio, **kwargs):
        chunk = (input_ids, attention_mask, logits_to_keep)
        if not self._sharing or (audio and not self._encoder_frozen):
            return super()._score_rows(model, *chunk, audio, **kwargs)
        embeds = audio.get(EMBEDS)
        recomputed = self.args.gradient_checkpointing or self.accelerator.num_processes > 1
        # of a mixture of experts, the balance is a figure of whole rows
        balanced = kwargs.get("compute_aux_loss", False)
        if (torch.is_grad_enabled() and recomputed) or balanced:
            embedded = partial(self._embedded, model, embeds)
            return self._trl_log_probs(embedded, *chunk, **kwargs)
        return self._score_completions(model, *chunk, embeds, **kwargs)

    def _embedded(self, model, embeds, input_ids, attention_mask, **options):
        """The model over whole rows, with the audio embeddings that were computed before."""
        if embeds is not None:
            options["inputs_embeds"] = input_embeds(self._thinker(model), input_ids, embeds)
        return model(input_ids=input_ids, attention_mask=attention_mask, **options)

    def _score_completions(self, model, input_ids, mask, logits_to_keep, embeds, **kwargs):
        """The completions alone, each after its prompt's KV cache."""
        # the prompt's last token predicts the first of the completion, so it goes with that
        end = input_ids.shape[1] - logits_to_keep - 1
        start = int(mask.argmax(-1).min())
        used = max(1, int(mask[:, end + 1 :].sum(-1).max()))
        prompt, prompt_mask = input_ids[:, start:end], mask[:, start:end]
        completion = slice(end, end + 1 + used)
        mask = mask[:, start : end + 1 + used]
        keys = prefix_keys(prompt, embeds)
        firsts, index = distinct(keys)
        distinct_keys = [keys[i] for i in firsts]
        last = self._last_prefix
        if last is None or last[0] != distinct_keys or torch.is_grad_enabled():
            first_embeds = [embeds[i] for i in firsts] if embeds else None
            with self.accelerator.autocast():
                thinker = self._thinker(model)
                cache = prefill(thinker, prompt[firsts], prompt_mask[firsts], first_embeds)
            last = (distinct_keys, cache)
        self._last_prefix = last
        cache = for_rows(last[1], index)
        positions = self._family.positions(mask)[..., end - start :]

        def after_prefix(input_ids, attention_mask, **options):
            options |= {"past_key_values": cache, "position_ids": positions}
            return model(input_ids=input_ids, attention_mask=mask, **options)

        ids, own_mask = input_ids[:, completion], mask[:, end - start :]
        found = self._trl_log_probs(after_prefix, ids, own_mask, used, **kwargs)
        log_probs, entropies, aux_loss = found
        missing = (0, logits_to_keep - used)  # columns of padding, which the mask leaves out
        if entropies is not None:
            entropies = pad(entropies, missing)
        return pad(log_probs, missing), entropies, aux_loss


class SharedPrefixTrainer(SharedPrefix, AudioGRPOTrainer):
    """AudioGRPOTrainer with a shared prefix."""
