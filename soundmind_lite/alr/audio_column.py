"""A data set's audio column, as `audio.load_audio` takes it."""

from datasets import Audio


def undecoded(dataset):
    """The data set, or a dict of several, with a `datasets.Audio` column as {"path", "bytes"}.

    datasets would decode it with a package that isn't needed here. Anything else is unchanged.
    """
    if isinstance(dataset, dict):
        return {name: undecoded(part) for name, part in dataset.items()}
    features = getattr(dataset, "features", None) or {}
    if isinstance(features.get("audio"), Audio):
        return dataset.cast_column("audio", Audio(decode=False))
    return dataset
