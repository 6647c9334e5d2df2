"""The output head where sampling needs it: at the last position alone."""

from contextlib import contextmanager


@contextmanager
def last_logits(model):
    """Within it the head computes logits of the last position of each row.

    transformers' `generate` reads no others, but the thinker takes no `logits_to_keep`: at 7B the
    logits of a minute's prompt would take 0.5 GB a row. Raises FloatingPointError if the model
    overflows on a prompt: argmax would make an answer of NaN, too.
    """

    first = True

    def last(_, inputs):
        nonlocal first
        states = inputs[0][:, -1:]
        if first and not states.isfinite().all():
            what = f"on this prompt the model computes NaN or infinite values in {states.dtype}"
            raise FloatingPointError(f"{what}; take dtype='bfloat16' or 'float32' in the profile")
        first = False
        return (states,)

    hook = model.get_output_embeddings().register_forward_pre_hook(last)
    try:
        yield
    finally:
        hook.remove()
