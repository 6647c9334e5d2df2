"""Qwen2-Audio: a Whisper encoder that takes 30 seconds at a time, a projector, and Qwen2."""

import torch

from .family import Family


class Qwen2Audio(Family):
    name = "Qwen2-Audio"
    model_types = ("qwen2_audio",)
    model_class = "Qwen2AudioForConditionalGeneration"
    processor_class = "Qwen2AudioProcessor"

    def encode(self, model, features):
        """As its forward does: it has no method for the embeddings alone."""
        from transformers.masking_utils import create_bidirectional_mask

        values, mask = (features[name] for name in self.fields)
        tower = model.model.audio_tower
        frames, _ = tower._get_feat_extract_output_lengths(mask.sum(-1))
        positions = torch.arange((values.shape[-1] - 2) // 2 + 1, device=values.device)
        used = (positions < frames[:, None]).long()
        options = {"inputs_embeds": values.new_zeros(*used.shape, 1), "attention_mask": used}
        attended = create_bidirectional_mask(config=tower.config, **options)
        states = tower(values, attention_mask=attended).last_hidden_state
        embeds = model.model.multi_modal_projector(states)
        return torch.cat([own[:count] for own, count in zip(embeds, self.tokens(features))])
