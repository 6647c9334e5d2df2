"""The prompt, the same for every profile, as chat messages that a processor's template turns into text and audio tokens."""

INSTRUCTION = (
    "Does the conclusion follow from the premises? Think step by step inside <think> </think>, "
    "then end with one line: Answer: entailed or Answer: not-entailed."
)
VERDICTS = ("not-entailed", "entailed")  # indexed by label


def user_text(question: str | None = None) -> str:
    """The text of the user's turn. Without `question` the question comes as sound in the same turn."""
    return INSTRUCTION if question is None else f"{question}\n{INSTRUCTION}"


def prompt(question: str | None = None) -> list[dict[str, str]]:
    """A conversation of one user turn with plain string content; the trainer adds the audio part (see `with_audio`)."""
    return [{"role": "user", "content": user_text(question)}]


def with_audio(messages: list[dict], audio) -> list[dict]:
    """The same conversation with `audio` (a path or a 16 kHz array) as the first part of the last user turn.

    Content parts are built here, after the dataset, because Arrow would give every part all keys of its siblings, filled with
    None, and chat templates read a part that has the key "audio" as sound.
    """
    as_parts = lambda content: [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
    messages = [{**m, "content": as_parts(m["content"])} for m in messages]
    if audio is not None:
        last = max(i for i, m in enumerate(messages) if m["role"] == "user")
        messages[last]["content"].insert(0, {"type": "audio", "audio": audio})
    return messages


def audio_parts(conversations: list[list[dict]]) -> list[dict]:
    """All audio parts of the conversations, in the order in which they are heard; plain string content has none."""
    lists = [m["content"] for messages in conversations for m in messages if isinstance(m["content"], list)]
    return [part for content in lists for part in content if part["type"] == "audio"]


def gold_completion(reasoning: str, label: int) -> str:
    """The completion that the prompt asks for."""
    return f"<think>{reasoning}</think>\nAnswer: {VERDICTS[label]}"
