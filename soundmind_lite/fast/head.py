"""The output head where sampling needs it: at the last position alone."""

from contextlib import contextmanager


@contextmanager
def last_logits(model):
    """Within it the head computes logits of the last position of each row.

    transformers' `generate` reads no others, but the thinker takes no `logits_to_keep`: at 7B the
    logits of a minute's prompt would take 0.5 GB a row.
    """

    def last(_, inputs):
        (states,) = inputs
        return (states[:, -1:],)

    hook = model.get_output_embeddings().register_forward_pre_hook(last)
    try:
        yield
    finally:
        hook.remove()
