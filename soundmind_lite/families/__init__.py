"""What differs between families of audio models, one small module each.

Each is tested on a tiny model of random weights in the classes of transformers 5.23, on a CPU
(`tests/families`); no published checkpoint of these families was run. "Yes" in the second column
means: in float32, the trainer's log-probs of mixed rows are within 1e-5 of those of single forward
passes with the audio, and more than 0.1 from those without it; a step of GRPO runs, in bfloat16 and
under gradient checkpointing, too.

| family           | scored with audio | shared prefix             | LoRA on    | longest clip  |
|------------------|-------------------|---------------------------|------------|---------------|
| Qwen2.5-Omni     | yes               | yes                       | attn., MLP | as configured |
| Qwen2-Audio      | yes               | yes                       | attn., MLP | 30 s          |
| Qwen3-Omni       | yes               | yes, but see 1            | attention  | as configured |
| Voxtral          | yes, but see 2    | yes                       | attn., MLP | the context's |
| Audio Flamingo 3 | yes, but see 3    | yes                       | attn., MLP | 600 s         |
| Gemma 4          | yes               | no: sliding-window caches | attn., MLP | 30 s          |

1. Where TRL adds the balance of the experts to the loss, its default for this family, the policy
   pass shares the audio embeddings alone; `router_aux_loss_coef=0.0` leaves it out.
2. Its tokenizer is mistral-common's, which this package doesn't install; the tests have one like
   it. Windows are of one size: whether prompts exchanged their clips can't be seen from numbers.
3. One clip a prompt: its processor takes no more. Its encoder takes no float32 features in
   bfloat16, so `evaluation` needs the model in float32; the trainer converts them.

Not run for any but Qwen2.5-Omni: 4 bits, several processes, a GPU. Speech out is Qwen2.5-Omni's
alone. What plain TRL 1.16 does with them, which the tests show: its
constructor fails on a model without a token for pictures (Qwen2-Audio, Voxtral, Audio Flamingo 3);
it takes the padding of Gemma 4's processor for a part of the prompt, and may sample audio
placeholders; and with Qwen3-Omni, a LoRA pattern for the language model reaches the encoders,
which is PEFT's (0.21).
"""

from .audio_flamingo3 import AudioFlamingo3
from .family import Family, FamilyError
from .gemma4 import Gemma4
from .qwen2_5_omni import Qwen2_5Omni
from .qwen2_audio import Qwen2Audio
from .qwen3_omni import Qwen3Omni
from .voxtral import Voxtral

FAMILIES = (Qwen2_5Omni, Qwen2Audio, Qwen3Omni, Voxtral, AudioFlamingo3, Gemma4)
KNOWN = ", ".join(family.name for family in FAMILIES)


def of(config) -> Family:
    """The family of a configuration, full or of a thinker alone, by its `model_type`.

    FamilyError, which names those that are known, for any other.
    """
    config = getattr(config, "thinker_config", config)
    for family in FAMILIES:
        if config.model_type in family.model_types:
            return family(config)
    raise FamilyError(f"no family of models has the type {config.model_type!r}; known: {KNOWN}")


def of_processor(processor) -> Family:
    """The family of a processor, by its class or one that it is derived from; it knows no
    configuration. FamilyError for any other."""
    names = [cls.__name__ for cls in type(processor).__mro__]
    for family in FAMILIES:
        if family.processor_class in names:
            return family()
    raise FamilyError(f"no family of models has a {names[0]}; known: {KNOWN}")
