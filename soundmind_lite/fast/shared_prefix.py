"""Hears each question once a step. In the plain seam each of the G completions of a group brings its own copy of the question, and the audio tower
and the language model run over every copy: in sampling, in the reference pass and in the policy pass.

Three things are shared here, and the results are the same up to rounding:
- mel features and audio embeddings: once for each distinct clip and step, for all passes (if the tower is frozen; otherwise for sampling alone);
- the prompt's keys and values: once for each distinct prompt of a pass; its completions go on from there;
- padding: no pass runs over columns that are padding in all of its rows, and only completions meet the output head.
"""
from contextlib import contextmanager, nullcontext

import torch
from transformers import DynamicCache
from trl.trainer.utils import split_tensor_dict

from .kv_cache import AFTER_PROMPT, after_prompts, for_rows
from ..models import AUDIO_FIELDS, audio_token_count
from ..trainer import AudioGRPOTrainer, joined

EMBEDS, MASK = "audio_embeds", AUDIO_FIELDS[1]


def distinct(keys: list) -> tuple[list[int], list[int]]:
    """The places where each key comes first, and for each key which of those it equals.

    >>> distinct(["a", "a", "b", "a"])
    ([0, 2], [0, 0, 1, 0])
    """
    first = {}
    for place, key in enumerate(keys):
        first.setdefault(key, place)
    order = {key: i for i, key in enumerate(first)}
    return list(first.values()), [order[key] for key in keys]


def keys_of(input_ids: torch.Tensor, embeds: list[torch.Tensor] | None) -> list[tuple]:
    """What makes prompts distinct: their tokens, and which sound they hold."""
    return [(*row, id(sound)) for row, sound in zip(input_ids.tolist(), embeds or [None] * len(input_ids), strict=True)]


def with_sound(thinker, input_ids: torch.Tensor, embeds: list[torch.Tensor]) -> torch.Tensor:
    """Input embeddings (rows, tokens, width) with each row's audio embeddings (audio tokens, width) in the place of its audio placeholders."""
    inputs = thinker.get_input_embeddings()(input_ids)
    here = input_ids == thinker.config.audio_token_id
    expected, found = [len(e) for e in embeds], here.sum(-1).tolist()
    if expected != found:
        raise ValueError(f"the prompts hold {found} audio placeholders and the sound makes {expected}; was a prompt cut?")
    return inputs.masked_scatter(here[..., None], torch.cat(embeds).to(inputs.dtype))


def run_prompts(thinker, input_ids: torch.Tensor, mask: torch.Tensor, embeds: list[torch.Tensor] | None) -> DynamicCache:
    """The keys and values of left-padded prompts (rows, tokens). Sound moves positions on like text, so positions are counts of what isn't padding."""
    inputs = thinker.get_input_embeddings()(input_ids) if embeds is None else with_sound(thinker, input_ids, embeds)
    cache = DynamicCache()
    thinker.model(inputs_embeds=inputs, attention_mask=mask, position_ids=positions_of(mask), past_key_values=cache, use_cache=True)
    return cache


def positions_of(mask: torch.Tensor) -> torch.Tensor:
    """Positions (3, rows, tokens) as the thinker counts them where there are no pictures."""
    return (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 1).expand(3, -1, -1)


@contextmanager
def prompts_run_once(thinker, embeds: list[torch.Tensor] | None):
    """Within it, `thinker.generate` runs each distinct prompt once, and all its rows read the same keys and values; `embeds` are those of the rows."""
    theirs, config = thinker.generate, thinker.model.language_model.config
    attention = config._attn_implementation

    def generate(input_ids, attention_mask, **options):
        firsts, places = distinct(keys_of(input_ids, embeds))
        prompts = run_prompts(thinker, input_ids[firsts, :-1], attention_mask[firsts, :-1], embeds and [embeds[i] for i in firsts])
        thinker.model.rope_deltas = torch.zeros(len(input_ids), 1, dtype=torch.long, device=input_ids.device)  # no pictures, no jumps
        side_by_side = places == sorted(places) and len(set(map(places.count, places))) == 1
        if side_by_side:
            config._attn_implementation = AFTER_PROMPT
        cache = after_prompts(prompts) if side_by_side else for_rows(prompts, places)
        return theirs(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, **options)

    thinker.generate = generate
    try:
        yield
    finally:
        del thinker.generate
        config._attn_implementation = attention


class HearOnceTrainer(AudioGRPOTrainer):
    """An AudioGRPOTrainer that shares what the rows of a group have in common. Same arguments, same results, less time.

    Where a process doesn't hold all weights (FSDP, ZeRO-3) it does what its parent does. Under gradient checkpointing, and with several processes, the
    policy pass shares the sound alone: keys and values can't be shared between passes that are recomputed.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._embeds = None
        self.share(not (self.is_fsdp_enabled or self.is_deepspeed_enabled))
        if self.tools:
            raise NotImplementedError("tools change the prompts between samples; set hear_once=False in the profile")

    def share(self, on: bool) -> None:
        """Turns the sharing on, or off to do what the parent does; for comparisons, between two steps."""
        self._sharing = on
        self._ear_frozen = on and not any(p.requires_grad for p in self._thinker(self.model).model.audio_tower.parameters())
        self._sound_fields = (EMBEDS, MASK) if self._ear_frozen else AUDIO_FIELDS

    def _thinker(self, model):
        model = self.accelerator.unwrap_model(model)
        return model.get_base_model() if hasattr(model, "get_base_model") else model

    def _tokenize_prompts(self, prompts):
        self._embeds = None
        if not self._sharing:
            return super()._tokenize_prompts(prompts)
        firsts, places = distinct([repr(prompt) for prompt in prompts])
        ids, images, fields = super()._tokenize_prompts([prompts[i] for i in firsts])
        if self._sound is not None:
            each = self._heard(self._sound)
            self._embeds = [each[i] for i in places]
            if self._ear_frozen:
                self._sound = {EMBEDS: each, MASK: self._sound[MASK]}
            self._sound = {name: [values[i] for i in places] for name, values in self._sound.items()}
            fields = {}  # what generate needs of the sound lies in self._embeds
        return [ids[i] for i in places], images, fields

    @torch.no_grad()
    def _heard(self, sound: dict[str, list[torch.Tensor]]) -> list[torch.Tensor]:
        """The audio embeddings (audio tokens, width) of each prompt's clips, from one run of the audio tower."""
        features, mask = (torch.cat(sound[name]) for name in AUDIO_FIELDS)
        heard = self._thinker(self.model).get_audio_features(features, mask, return_dict=True).last_hidden_state
        return list(heard.split([int(audio_token_count(m.sum(-1)).sum()) for m in sound[MASK]]))

    def _generate_single_turn(self, *args, **kwargs):
        with prompts_run_once(self._thinker(self.model), self._embeds) if self._sharing else nullcontext():
            return super()._generate_single_turn(*args, **kwargs)

    def _prepare_inputs(self, generation_batch):
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        fresh = self._buffered_inputs
        # where all batches belong to one optimizer step, rows may change places between them: groups come together, short ones with short ones
        if fresh is not before and self._sharing and len(fresh) > 1 and self.args.steps_per_generation == self.args.gradient_accumulation_steps:
            self._buffered_inputs = by_group(fresh)
            inputs = self._buffered_inputs[self._step % len(fresh)]
        return inputs

    def _log_probs(self, model, input_ids, attention_mask, logits_to_keep, batch_size=None, **kwargs):
        alone = torch.is_grad_enabled() and (self.args.gradient_checkpointing or self.accelerator.num_processes > 1)
        if not self._sharing or (self._sound is not None and not self._ear_frozen):
            return super()._log_probs(model, input_ids, attention_mask, logits_to_keep, batch_size, **kwargs)
        embeds = self._sound and self._sound[EMBEDS]
        size, results, prompts = batch_size or len(input_ids), [], None
        for start in range(0, len(input_ids), size):
            rows = slice(start, start + size)
            chunk = input_ids[rows], attention_mask[rows], embeds and embeds[rows], logits_to_keep
            if alone:
                results.append(self._score_rows(model, *chunk, **kwargs))
            else:
                result, prompts = self._score_completions(model, *chunk, prompts, **kwargs)
                results.append(result)
        return joined(results)

    def _score_rows(self, model, input_ids, mask, embeds, length, **kwargs):
        """Whole rows, with the sound that was heard before."""
        def heard(input_ids, attention_mask, **options):
            inputs = None if embeds is None else with_sound(self._thinker(model), input_ids, embeds)
            return model(input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs, **options)

        return self._trl_log_probs(heard, input_ids, mask, length, **kwargs)

    def _score_completions(self, model, input_ids, mask, embeds, length, last, **kwargs):
        """The completions alone, each after the keys and values of its prompt. `last` are those of the chunk before, in case it had the same prompts."""
        end = input_ids.shape[1] - length - 1  # the prompt's last token predicts the first of the completion, so it goes with that
        start = int(mask.argmax(-1).min())
        used = max(1, int(mask[:, end + 1 :].sum(-1).max()))
        ids, mask = input_ids[:, start : end + 1 + used], mask[:, start : end + 1 + used]
        prompt, ids, end = ids[:, : end - start], ids[:, end - start :], end - start
        keys = keys_of(prompt, embeds)
        firsts, places = distinct(keys)
        key = [keys[i] for i in firsts]
        if last is None or last[0] != key or torch.is_grad_enabled():
            with self.accelerator.autocast():
                last = key, run_prompts(self._thinker(model), prompt[firsts], mask[firsts, :end], embeds and [embeds[i] for i in firsts])
        cache, positions = for_rows(last[1], places), positions_of(mask)[..., end:]

        def completed(input_ids, attention_mask, **options):
            return model(input_ids=input_ids, attention_mask=mask, past_key_values=cache, position_ids=positions, **options)

        found = self._trl_log_probs(completed, ids, mask[:, end:], used, **kwargs)
        wide = [torch.nn.functional.pad(part, (0, length - used)) if part is not None else None for part in found[:2]]
        return (*wide, found[2]), last

    def _trl_log_probs(self, model, *args, **kwargs):
        """TRL's own pass over rows, which uses `model` as a callable only."""
        return super(AudioGRPOTrainer, self)._get_per_token_logps_and_entropies(model, *args, **kwargs)


def by_group(batches: list[dict]) -> list[dict]:
    """The same rows in as many batches of the same size: rows of a prompt side by side, groups in the order of their longest completion."""
    rows = {name: _together([batch[name] for batch in batches]) for name in batches[0]}
    lengths, keys = rows["completion_mask"].sum(-1).tolist(), [tuple(row) for row in rows["prompt_ids"].tolist()]
    longest = {}
    for key, length in zip(keys, lengths):
        longest[key] = max(length, longest.get(key, 0))
    order = sorted(range(len(keys)), key=lambda i: (longest[keys[i]], keys[i], lengths[i]))
    sorted_rows = {name: _in_order(values, order) for name, values in rows.items()}
    return split_tensor_dict(sorted_rows, len(batches))


def _together(parts: list):
    first = parts[0]
    if isinstance(first, torch.Tensor) and first.ndim:
        return torch.cat(parts)
    return [item for part in parts for item in part] if isinstance(first, list) else first


def _in_order(values, order: list[int]):
    if isinstance(values, torch.Tensor) and values.ndim:
        return values[order]
    return [values[i] for i in order] if isinstance(values, list) else values
