"""The rewards in the pages are the library's: on 20,000 completions, and in the reward lab."""

import html
import json
import random

import pytest
from lab_controls import choose, error_of, load, texts, wait
from test_fuzz_rewards import completion as adversarial

from soundmind_lite import data
from soundmind_lite.course import explain, show, widgets
from soundmind_lite.profiles import ASSETS
from soundmind_lite.prompts import gold_completion
from soundmind_lite.publish import live
from soundmind_lite.rewards import TEXT_REWARDS, parse_answer, reasoning_of
from soundmind_lite.runs import report

pytest_plugins = ("site_browser",)
pytestmark = pytest.mark.slow

PORT = ("python", "rewards")
REFERENCES = (0.5, 1, 2.5, 4, 20, 1 / 3, 100_000, 1_234_567, 1e-05)
# what Python or JavaScript, but not both, takes for whitespace, and its neighbours
SPACES = [*map(chr, range(0x20)), *" \x7f\x85\xa0\u1680\u180e\u2000\u200a\u200b\u2028\u2029"]
SPACES += [*"\u202f\u205f\u2060\u3000\ufeff"]
ODD = [
    *("Answer: entailed", "Answer: Not Entailed.", "ANSWER: not-entailed", "An\u017fwer: entailed"),
    *("Answer: ent\u0131iled", "<think>", "</think>", "<think>one two</think>", "why", "\ud800"),
    *("\U0001f600", "&", "<b>", '"', "\r\n", "\n", ".", "not ", "e\u0301", "\x00", "__proto__"),
]
COMPLETION = (
    "<think>No pirates are lemons, and all tigers are lemons, so no tigers are pirates.</think>\n"
    "Answer: entailed"
)
TERMS = """[...document.querySelectorAll(".lab-term")].map(row =>
  [...row.children].map(part => part.textContent).filter(text => text))"""
RUN_PORT = """(() => {
  const {explain, formatFault, parseAnswer, reasoningOf, marked} = soundmind.rewards;
  return JSON.stringify(cases.map(([text, label, reference]) => [
    explain(text, label, reference).map(
      term => [term.name, term.reward, term.maximum, term.reason, term.evidence]),
    formatFault(text), parseAnswer(text), reasoningOf(text), marked(text)]));
})()"""
TITLES = {
    "length": ("3px dotted #009E73", "the words that the length term counts"),
    "answer": ("3px solid #0072B2", "the line that the answer term reads"),
}


def shipped() -> list[tuple[str, int, float]]:
    """Completion, label and reference of every rollout that is shipped, and of gold completions."""
    rows = [row for split in ("train", "dev", "test") for row in data.load_alr("mini", split)]
    columns = {row["id"]: row for row in data.training_rows(data.load_alr("mini", "train"))}
    found = []
    for file in sorted((ASSETS / "runs").glob("**/completions.jsonl")):
        for line in report.read_lines(file):
            row = columns[line["id"]]
            found.append((line["completion"], row["label"], row["reference_length"]))
    for row in rows:
        for label in (0, 1):
            found.append((gold_completion(row["reasoning"], row["label"]), label, 20))
    return found


def mutated(text: str, rng: random.Random) -> str:
    """The text with one to three parts taken out, doubled, exchanged or in another case."""
    for _ in range(rng.randint(1, 3)):
        pieces = [*SPACES, *ODD]
        tag = rng.choice(["<think>", "</think>", "Answer", "entailed", "\n", " ", text[-5:]])
        at = rng.randint(0, len(text))
        text = rng.choice(
            [
                text[:at] + rng.choice(pieces) + text[at:],
                text[:at] + text[at + rng.randint(1, 9) :],
                text.replace(tag, "", 1),
                text.replace(tag, 2 * tag, 1),
                text.replace(tag, rng.choice(pieces), 1),
                text.replace(tag, tag.swapcase()),
                rng.choice(SPACES) + text + rng.choice(SPACES),
            ]
        )
    return text


def near(rng: random.Random) -> str:
    """A completion in the format that is asked for, or one step from it."""
    thought = rng.choice(["", " ", "\x1f\n", "so\xa0it is", "All birds are fish."])
    between = rng.choice(["\n", "\n", "", " ", "\n\n", "\nSo:\n", "\r\n", "\x85"])
    answer = rng.choice(["Answer: entailed", "Answer: not entailed", "answer: NOT-entailed", "So."])
    end = rng.choice(["", ".", "..", "\n", " \x1e", "\nDone", "</think>"])
    return f"<think>{thought}</think>{between}{answer}{end}"


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, int, float]]:
    """At least 20,000 of (completion, label, reference in words), in a random order."""
    rng = random.Random(18)
    found = shipped()
    texts = [mutated(text, rng) for text, *_ in found for _ in range(2)]
    texts += [adversarial(rng) for _ in range(5_000)]
    texts += [near(rng) for _ in range(2_000)]
    for _ in range(5_000):
        texts.append("".join(rng.choices([*SPACES, *ODD, *ODD], k=rng.randint(0, 9))))
        unusual = "".join(chr(rng.randint(0, 0xFFFF)) for _ in range(rng.randint(1, 3)))
        texts.append(f"{unusual}<think>a{unusual}b</think>\nAnswer: entailed{unusual}")
    found += [(text, rng.randint(0, 1), rng.choice(REFERENCES)) for text in texts]
    assert len(found) >= 20_000
    return rng.sample(found, len(found))


def in_python(text: str, label: int, reference: float) -> list:
    """What the library says of a completion: terms, fault, verdict, reasoning, marked HTML."""
    terms = explain.explain(text, label, reference_length=reference)
    fields = [[term.name, term.reward, term.maximum, term.reason, term.evidence] for term in terms]
    columns = {"label": [label], "reference_length": [reference]}
    assert [term.reward for term in terms] == [fn([text], **columns)[0] for fn in TEXT_REWARDS]
    found = [fields, explain.format_fault(text), parse_answer(text), reasoning_of(text)]
    # JSON has one form for a character beyond U+FFFF, Python's text may hold it as two surrogates
    return json.loads(json.dumps([*found, show.marked(text)]))


def as_html(parts: list[list[str]]) -> str:
    """The port's marked parts as `show.marked` writes them."""
    written = ""
    for text, term in parts:
        inside = html.escape(text)
        if term:
            line, title = TITLES[term]
            inside = f'<span title="{title}" style="border-bottom:{line}">{inside}</span>'
        written += inside
    return written


def different(page, cases, expected) -> list:
    """The cases of which the page's scripts say something else than expected."""
    page.run(f"globalThis.cases = JSON.parse({json.dumps(json.dumps(cases))}); 0")
    found = [[*said, as_html(parts)] for *said, parts in json.loads(page.run(RUN_PORT))]
    assert len(found) == len(cases)
    return [(*three, says) for *three, says in zip(cases, expected, found) if says != three[1]]


@pytest.fixture(scope="module")
def expected(cases) -> list[list]:
    return [in_python(*case) for case in cases]


def test_the_port_says_what_the_library_says(lab_page, cases, expected):
    page = load(lab_page(), *PORT)
    assert different(page, cases, expected) == []
    # both sides of each term, and each fault, are among the completions
    faults = {explain.format_fault(text) for text, *_ in cases}
    assert len({fault for fault in faults if fault and "times" not in fault}) == 8
    texts, labels, references = zip(*cases)
    columns = {"label": list(labels), "reference_length": list(references)}
    for reward in TEXT_REWARDS:
        paid = sum(map(bool, reward(list(texts), **columns))) / len(texts)
        assert 0.1 < paid < 0.9


@pytest.mark.parametrize(
    ("name", "rule", "instead"),
    [
        ("python", "const SPACE = /[\\t-\\r\\x1c-\\x20\\x85", "const SPACE = /[\\t-\\r\\x20\\x85"),
        ("python", "\\x85\\xa0\\u1680", "\\x85\\xa0\\ufeff\\u1680"),
        ("python", "filter(word => word)", "filter(word => true)"),
        ("python", "power >= -4 && power < 6", "power >= -4 && power < 5"),
        ("python", "short(fixed(x, 5 - power))", "String(x)"),
        ("rewards", "entailed)\\.?$/i", "entailed)\\.?$/iu"),
        ("rewards", "entailed)\\.?$/i", "entailed)\\.*$/i"),
        ("rewards", "entailed)\\.?$/i", "entailed)\\.?$/im"),
        ("rewards", "count(text, OPEN) !== 1", "count(text, OPEN) < 1"),
        ("rewards", '!after.includes("\\n") && parseAnswer(text)', "parseAnswer(text)"),
        ("rewards", 'stripped.lastIndexOf("\\n")', 'stripped.lastIndexOf("\\r")'),
        ("rewards", 'return close ? inside : "";', "return inside;"),
        ("rewards", "Math.min(1, ", "Math.min(2, "),
        ("rewards", "lastIndexOf(answer)", "indexOf(answer)"),
        ("rewards", "if (start < done) continue;", ""),
    ],
)
def test_the_test_notices_a_changed_rule(lab_page, cases, expected, name, rule, instead):
    page = load(lab_page(), *PORT)
    script = (live.SCRIPTS / f"{name}.js").read_text(encoding="utf-8")
    assert script.count(rule) == 1
    page.run(script.replace(rule, instead) + ";0")
    if name == "python":
        page.run((live.SCRIPTS / "rewards.js").read_text(encoding="utf-8") + ";0")
    assert different(page, cases[:5_000], expected[:5_000])


def test_senseless_columns_are_the_same_errors(lab_page):
    page = load(lab_page(), *PORT)
    for label, reference in ((2, 4), (-1, 4), (1, 0), (0, -3)):
        with pytest.raises(ValueError) as error:
            explain.explain("x", label, reference_length=reference)
        call = f"soundmind.rewards.explain('x', {label}, {reference})"
        assert error_of(page, call) == str(error.value)


def test_numbers_are_written_as_python_writes_them(lab_page):
    page = load(lab_page(), *PORT)
    rng = random.Random(0)
    numbers = [rng.choice([1, -1]) * rng.random() * 10 ** rng.randint(-7, 9) for _ in range(2_000)]
    numbers += [i / 8 for i in range(-400, 400)] + [i / 200 for i in range(400)] + [0.0, -0.0]
    script = """numbers.map(x => [soundmind.python.fixed(x, 0), soundmind.python.fixed(x, 2),
      soundmind.python.fixed(x, 3), soundmind.python.percent(x), soundmind.python.general(x)])"""
    found = page.run(f"(numbers => {script})(JSON.parse('{json.dumps(numbers)}'))")
    for number, written in zip(numbers, found):
        assert written == [
            *(f"{number:.0f}", f"{number:.2f}", f"{number:.3f}", f"{number:.0%}", f"{number:g}")
        ]


@pytest.fixture
def lab(lab_page):
    """The page with the reward lab as notebook 03 has it."""
    options = {"label": 1, "reference_length": 20}
    box = widgets.live("reward_lab", completion=COMPLETION, **options)
    return wait(lab_page(f"<div{box}></div>"))


def shown(page) -> tuple[str, list[list[str]]]:
    """The sum that the lab shows, and the words of each term."""
    return *texts(page, ".lab-sum"), page.run(TERMS)


def in_words(text: str, label: int, reference: float) -> tuple[str, list[list[str]]]:
    """The same, as `show.reward_card` has them."""
    terms = explain.explain(text, label, reference_length=reference)
    total = sum(term.reward for term in terms)
    rows = [[t.name, f"{t.reward:.2f} of {t.maximum:g}", t.reason] for t in terms]
    return f"sum {total:.2f} of 4", rows


def test_the_lab_follows_what_is_typed(lab):
    assert shown(lab) == in_words(COMPLETION, 1, 20)
    assert shown(lab)[0] == "sum 3.70 of 4"
    lab.run("document.querySelector('textarea').focus(); 0")
    lab.run("document.querySelector('textarea').select(); 0")
    lab.send("Input.insertText", text="<think>one two <b></think>\nAnswer: Not Entailed.")
    typed = lab.run("document.querySelector('textarea').value")
    assert typed.endswith("Not Entailed.")
    assert shown(lab) == in_words(typed, 1, 20)
    assert shown(lab)[0] == "sum 1.15 of 4"
    assert texts(lab, ".lab-frame .reads") == ["one two <b>", "Answer: Not Entailed."]
    choose(lab, ".lab select", 0)
    assert shown(lab) == in_words(typed, 0, 20)
    choose(lab, ".lab input", 4)
    assert shown(lab) == in_words(typed, 0, 4)
    assert shown(lab)[0] == "sum 3.75 of 4"
    assert lab.complaints() == []


def test_the_buttons_begin_with_completions_that_earn_differently(lab):
    press = "[...document.querySelectorAll('.lab-buttons button')][%d].click()"
    sums = []
    for number in range(5):
        lab.run(press % number)
        text = lab.run("document.querySelector('textarea').value")
        assert shown(lab) == in_words(text, 1, 20)
        sums.append(shown(lab)[0])
    assert [words.split()[1] for words in sums] == ["3.70", "2.00", "1.70", "2.00", "4.00"]
    choose(lab, ".lab select", 0)  # what is right changes with the label
    lab.run(press % 0)
    assert "says not-entailed, as the label does" in str(shown(lab))
