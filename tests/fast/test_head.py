"""The head at the last position alone."""

import pytest
import torch

from soundmind_lite import data, evaluation
from soundmind_lite.fast.head import last_logits


def test_the_logits_are_those_of_the_last_position(tiny):
    model, _ = tiny
    ids = torch.arange(40, 60)[None]
    with torch.no_grad():
        whole = model(input_ids=ids).logits
        with last_logits(model):
            last = model(input_ids=ids).logits
        again = model(input_ids=ids).logits
    assert last.shape[1] == 1
    assert torch.allclose(last, whole[:, -1:], rtol=0, atol=1e-5)
    assert torch.equal(again, whole)


def test_a_model_that_overflows_is_no_model_that_answers_wrongly(fresh_tiny):
    """As a large model may in float16, where the largest number is 65,504."""
    model, processor = fresh_tiny
    with torch.no_grad():
        model.model.language_model.norm.weight.mul_(1e5)
    model.to(torch.float16)
    rows = data.load_alr("mini", "dev").select(range(2))
    with pytest.raises(FloatingPointError, match=r"infinite values in torch\.float16; take dtype="):
        evaluation.answer_rows(model, rows, processing_class=processor, profile="tiny")
