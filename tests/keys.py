"""What keys look like, and where to look for them."""

import html
import re
import subprocess
from pathlib import Path

KEYS = {  # what keys look like, and one that is made up here, so that this file holds none
    "Hugging Face": (r"\bhf_[A-Za-z]{30,}", "hf_" + "aB" * 17),
    "GitHub": (r"\bgh[pousr]_[A-Za-z0-9]{36}|\bgithub_pat_\w{40,}", "ghp_" + "a1" * 18),
    "OpenAI, Anthropic": (r"\bsk-[A-Za-z0-9_-]{32,}", "sk-" + "proj" * 10),
    "Amazon": (r"\bAKIA[0-9A-Z]{16}\b", "AKIA" + "Q7" * 8),
    "Google": (r"\bAIza[0-9A-Za-z_-]{35}", "AIza" + "b" * 35),
    "Slack": (r"\bxox[abprs]-[0-9A-Za-z-]{10,}", "xoxb-" + "1" * 12),
    "Weights & Biases": (r"(?i)wandb\w*['\"=: ]+[0-9a-f]{40}\b", "WANDB_API_KEY=" + "0f" * 20),
    "a private key": (r"-----BEGIN [A-Z ]*PRIVATE KEY", "-----BEGIN RSA PRIVATE" + " KEY-----"),
    "a URL with a password": (
        r"[a-z]+://[^\s/:@'\"<>]+:[^\s/:@'\"<>]+@[\w.-]+",
        "https://anna:" + "geheim@host/alr.zip",
    ),
    "a signed URL": (
        r"[?&](?:token|sig|signature|X-Amz-Signature)=[\w%-]{16,}",
        "https://h/a?" + "token=" + "c" * 20,
    ),
    "a bearer": (r"(?i)\bbearer [A-Za-z0-9._-]{20,}", "Bearer " + "d" * 24),
}


def keys_in(text: str) -> list[str]:
    return [
        f"{name}: {found[0]:.12}…"
        for name, (pattern, _) in KEYS.items()
        if (found := re.search(pattern, text))
    ]


def all_text(folder: Path):
    """(file, text) of every file below a folder that git wouldn't ignore, as far as it is text."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    inside = listed.returncode == 0 and listed.stdout.strip()
    files = (
        [folder / name for name in listed.stdout.splitlines()]
        if inside
        else sorted(folder.rglob("*"))
    )
    for file in files:
        if file.is_file():
            yield file, file.read_text(encoding="utf-8", errors="ignore")


def files_with_keys(folder: Path) -> dict[str, list[str]]:
    return {
        str(file): keys for file, text in all_text(folder) if (keys := keys_in(html.unescape(text)))
    }
