"""What AudioGRPOTrainer relies on in TRL. When TRL moves, this names what moved."""

import inspect

import pytest
import trl
from trl import GRPOTrainer

SIGNATURES = {
    "_set_signature_columns_if_needed": ["self"],
    "_generate_and_score_completions": ["self", "inputs"],
    "_calculate_rewards": ["self", "inputs", "prompts", "completions", "completion_ids_list"],
    "_tokenize_prompts": ["self", "prompts"],
    "_compute_loss": ["self", "model", "inputs"],
    "_get_train_sampler": ["self", "dataset"],
}
LOG_PROBS = ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"]


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert hasattr(GRPOTrainer, name), f"TRL {trl.__version__} has no GRPOTrainer.{name} any more"
    found = list(inspect.signature(getattr(GRPOTrainer, name)).parameters)
    assert found == SIGNATURES[name], f"TRL {trl.__version__} changed GRPOTrainer.{name}: {found}"


def test_log_prob_signature():
    found = list(inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters)
    assert found[:6] == LOG_PROBS, (
        f"TRL {trl.__version__} changed GRPOTrainer._get_per_token_logps_and_entropies: {found}"
    )


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("_generate_and_score_completions", "self._generate("),
        ("_generate_and_score_completions", "self._calculate_rewards("),
        ("_generate", "self._tokenize_prompts("),
        ("_generate", "multimodal_fields"),
        ("_tokenize_prompts", "return prompt_ids, images, multimodal_fields"),
        ("_prepare_inputs", "shuffle_sequence_dict("),
        ("_prepare_inputs", "split_tensor_dict("),
        ("_get_per_token_logps_and_entropies", "model(**model_inputs"),
        ("_get_per_token_logps_and_entropies", "return logps, entropies, aux_loss"),
        ("__init__", "self.generation_kwargs"),
        ("__init__", "self.reward_weights"),
        ("__init__", "self.reward_func_names"),
    ],
)
def test_behaviour_inside_the_methods(method, text):
    assert text in inspect.getsource(getattr(GRPOTrainer, method)), (
        f"TRL {trl.__version__}: GRPOTrainer.{method} no longer holds {text!r}"
    )


def test_the_sampler_is_still_made_so():
    from trl.trainer.utils import RepeatSampler

    found = list(inspect.signature(RepeatSampler).parameters)
    assert found == [
        "data_source",
        "mini_repeat_count",
        "batch_size",
        "repeat_count",
        "shuffle",
        "seed",
    ], f"TRL {trl.__version__} changed RepeatSampler: {found}"
    assert not hasattr(RepeatSampler, "set_epoch"), (
        f"TRL {trl.__version__} knows epochs now; EpochSampler may have become unnecessary"
    )


def test_lists_are_shuffled_and_split_with_the_tensors():
    import torch
    from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

    batch = {"ids": torch.arange(6), "sound": [torch.full((1, 2), i) for i in range(6)]}
    for part in split_tensor_dict(shuffle_sequence_dict(batch), 3):
        assert len(part["sound"]) == 2
        assert [int(s[0, 0]) for s in part["sound"]] == part["ids"].tolist()


def test_trl_itself_still_has_no_audio():
    """If this fails, TRL may score with sound now, and the seam may have become unnecessary."""
    assert "audio" not in inspect.getsource(GRPOTrainer)
