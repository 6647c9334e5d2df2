"""What is asked, the same for every profile, and how audio becomes a part of a chat message."""

import re

INSTRUCTION = (
    "Does the conclusion follow from the premises? Think step by step inside <think> </think>, "
    "then end with one line: Answer: entailed or Answer: not-entailed."
)
VERDICTS = ("not-entailed", "entailed")  # indexed by label
WRITTEN_ANSWER = re.compile(r"Answer: *(not[- ]entailed|entailed)\b", re.IGNORECASE | re.ASCII)
ANSWER_AT_END = re.compile(WRITTEN_ANSWER.pattern + r"\.?\s*\Z", re.IGNORECASE | re.ASCII)


def prompt(question: str | None = None) -> list[dict[str, str]]:
    """A conversation of one user turn with plain string content. If `question` is None, the
    question is audio, which `with_audio` adds."""
    content = INSTRUCTION if question is None else f"{question}\n{INSTRUCTION}"
    return [{"role": "user", "content": content}]


def with_audio(messages: list[dict], audio) -> list[dict]:
    """The same conversation with `audio`, if it isn't None, first in the last user turn.

    Not in the dataset, where Arrow gives every part all keys of its siblings, filled with None:
    chat templates read a part that has the key "audio" as audio.
    """
    if audio is None:
        return messages
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    content = messages[last]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    turn = {**messages[last], "content": [{"type": "audio", "audio": audio}, *parts]}
    return [*messages[:last], turn, *messages[last + 1 :]]


def audio_parts(conversations: list[list[dict]]) -> list[dict]:
    """All audio parts of the conversations, in order; a plain string has none."""
    chats = [messages for messages in conversations if not isinstance(messages, str)]
    contents = [message["content"] for messages in chats for message in messages]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part for part in parts if part["type"] == "audio"]


def gold_completion(reasoning: str, label: int) -> str:
    """The completion that the prompt asks for."""
    return f"<think>{reasoning}</think>\nAnswer: {VERDICTS[label]}"


def chain_of_thought(reasoning: str) -> str:
    """A row's own reasoning without the answer line at its end."""
    return ANSWER_AT_END.sub("", reasoning).strip()
