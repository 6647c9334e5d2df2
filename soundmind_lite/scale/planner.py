"""Plans a run before a download: memory, hours and cost on a GPU, and what the run leaves out.

Memory comes from `memory`, time from `timing`, cards from `cards`. Neither memory nor time has been
checked on a GPU by this project yet: treat both as a first guess, and trust `calibrated` figures
over the others.
"""

from dataclasses import dataclass, replace

from ..profiles import ALR, Profile
from . import timing
from .cards import CARDS, Card
from .memory import REMEDIES, Memory, memory_of

# Hours that the default run of a profile may take: a session of Colab's free GPU and of its paid
# ones (they last about 12 at most), and a day elsewhere
SESSION_HOURS = {"t4": 8, "l4": 12, "a100": 12, "48gb": 24, "80gb": 24, "multi": 24}
PROCESSES = {"multi": 2}  # the fewest cards of a profile for several
# The least that `within` plans for, and the share of the hours that measuring may take beyond it
MIN_TEST_ROWS, MIN_STEPS = 32, 10
EVALUATION_SHARE = 0.4
ANSWER_TOKENS = 1683  # of the answers of ALR's train split, on average (the paper)


@dataclass(frozen=True)
class Plan:
    """What a run takes. `processes` is the number of cards; memory is that of each.

    `calibrated`: a step was measured here.
    """

    run: Profile
    card: str
    memory: Memory
    limit_gb: float
    step_seconds: float
    evaluation_hours: float
    download_hours: float
    processes: int = 1
    calibrated: bool = False
    price: float | None = None

    @property
    def profile(self) -> str:
        return self.run.name

    @property
    def parts(self) -> dict[str, float]:
        """GB of each part in the phase that needs most."""
        return self.memory.parts

    @property
    def total_gb(self) -> float:
        return self.memory.total_gb

    @property
    def fits(self) -> bool:
        return self.total_gb <= self.limit_gb

    @property
    def steps(self) -> int:
        return self.run.max_steps

    @property
    def training_hours(self) -> float:
        return self.step_seconds * self.steps / 3600

    @property
    def hours(self) -> float:
        """Of the run from its start to its result: download, measurements and training."""
        return self.download_hours + self.evaluation_hours + self.training_hours

    @property
    def session_hours(self) -> float | None:
        """What a default run may take on the profile's own card; None on others."""
        return SESSION_HOURS.get(self.run.name) if self.card == self.run.card else None

    @property
    def cost(self) -> float | None:
        return None if self.price is None else self.price * self.hours * self.processes

    @property
    def basis(self) -> str:
        """Where the time comes from."""
        return "two real steps here" if self.calibrated else "the card's data sheet, not measured"

    @property
    def advice(self) -> str:
        """What to lower first, and how: the weights if they are too much, else the largest part of
        the phase that needs most."""
        if sum(self.memory.lasting.values()) <= self.limit_gb:
            phase = self.memory.phases[self.memory.peak]
            largest = max(phase, key=phase.get)
            remedy = REMEDIES[largest]
            if self.run.gradient_checkpointing:
                remedy = remedy.removesuffix(", or set gradient_checkpointing=True")
            return f"{largest}: {remedy}"
        smaller = "take a smaller model"
        return f"weights: {smaller if self.run.load_in_4bit else smaller + ', or 4-bit weights'}"

    @property
    def left_out(self) -> list[str]:
        """What the run doesn't do with the whole data."""
        train, test = timing.rows_of(self.run)
        fetched, measured = timing.used_rows(self.run)
        seen = min(fetched, self.steps * self.run.prompts_per_step)
        found = []
        if seen < train:
            found.append(f"{train - seen:,} of {train:,} training questions")
        if self.run.eval == "none":
            found.append("all measurements, before and after training")
        elif measured < test:
            found.append(f"{test - measured:,} of {test:,} test questions")
        if self.run.eval == "short":
            found.append("sampled answers to the test questions (greedy ones alone are measured)")
        if self.run.data == ALR and self.run.max_completion_length < ANSWER_TOKENS:
            longest = f"{self.run.max_completion_length:,} tokens"
            found.append(f"answers beyond {longest} (ALR's have {ANSWER_TOKENS:,} on average)")
        return found

    def __str__(self) -> str:
        return "\n".join([*self._memory_lines(), *self._time_lines(), *self._other_lines()])

    def _memory_lines(self) -> list[str]:
        cards = f"{self.processes} × {self.card}" if self.processes > 1 else self.card
        lines = [f"profile {self.profile} on {cards}, {self.limit_gb:.0f} GB"]
        longest = f"clips of up to {self.run.max_audio_seconds:g} s"
        lines.append(f"memory at its peak, in {self.memory.peak}; {longest}")
        lines += [f"  {name:24}{size:8.2f} GB" for name, size in self.parts.items() if size]
        verdict = "fits" if self.fits else "will not fit"
        lines.append(f"  {'together':24}{self.total_gb:8.2f} GB: {verdict}")
        if not self.fits:
            lines.append(f"  lower this first: {self.advice}")
        return lines

    def _time_lines(self) -> list[str]:
        rows = timing.used_rows(self.run)[1]
        kinds = {"full": "greedy and sampled", "short": "greedy", "none": "nothing"}
        measured = f"{rows} questions {timing.MEASUREMENTS} times, {kinds[self.run.eval]}"
        if self.run.eval == "none":
            measured = "no measurement"
        session = f" of a session of {self.session_hours}" if self.session_hours else ""
        rate = 1000 * timing.CONNECTION_GB
        amount = f"{timing.download_gb(self.run):.1f} GB at {rate:.0f} MB/s"
        return [
            f"time, from {self.basis}",
            f"  {'download':24}{self.download_hours:8.2f} hours: {amount}",
            f"  {'evaluation':24}{self.evaluation_hours:8.2f} hours: {measured}",
            f"  {'training':24}{self.training_hours:8.2f} hours: "
            f"{self.steps} steps of {self.step_seconds:.0f} s",
            f"  {'together':24}{self.hours:8.2f} hours{session}",
            f"  at most: every answer is taken to have {self.run.max_completion_length:,} tokens",
        ]

    def _other_lines(self) -> list[str]:
        lines = ["left out:", *(f"  {what}" for what in self.left_out)] if self.left_out else []
        if self.cost is not None:
            each = " and card" if self.processes > 1 else ""
            lines.append(f"cost at {self.price:g} an hour{each}: {self.cost:.2f}")
        return lines


def plan(
    profile: Profile,
    card: Card | None = None,
    *,
    audio_seconds: float | None = None,
    price: float | None = None,
    measured_step: float | None = None,
    processes: int | None = None,
) -> Plan:
    """The plan of a run on a card (default: the profile's), or on one for each of `processes`
    (default: 2 for `multi`, else 1).

    Memory is for the longest clips of the profile, time for clips of `audio_seconds` (default: the
    mean of the data). `measured_step` (seconds, from `timing.calibrate`) replaces the data sheet's
    guess, and moves that of evaluation in proportion; `price` is for an hour of a card. Raises
    ValueError for a profile without a card of its own where none is named, and for clips that are
    longer than the profile's `max_audio_seconds`.
    """
    if card is None and not profile.card:
        raise ValueError(f"the profile {profile.name} needs no GPU; name a card to plan for")
    card = card or CARDS[profile.card]
    processes = processes or PROCESSES.get(profile.name, 1)
    seconds = timing.clip_seconds(profile) if audio_seconds is None else audio_seconds
    if seconds > profile.max_audio_seconds:
        raise ValueError(
            f"clips of {seconds:g} s are longer than the profile's limit of "
            f"{profile.max_audio_seconds:g} s"
        )
    sizes = {"audio_seconds": seconds, "processes": processes}
    step = timing.step_seconds(profile, card, **sizes)
    evaluation = timing.evaluation_seconds(profile, card, **sizes)
    if measured_step is not None:
        evaluation *= measured_step / step
        step = measured_step
    return Plan(
        run=profile,
        card=card.name,
        memory=memory_of(profile, processes=processes),
        limit_gb=card.memory_gb,
        step_seconds=step,
        evaluation_hours=evaluation / 3600,
        download_hours=timing.download_seconds(profile) / 3600,
        processes=processes,
        calibrated=measured_step is not None,
        price=price,
    )


def within(profile: Profile, card: Card | None, hours: float, **options) -> Profile:
    """The profile with `test_rows`, `eval`, `train_rows` and `max_steps` that end within `hours`.

    Measuring takes up to 40 % of them: all answers that the profile's `eval` asks for if all test
    rows can be measured so, else greedy answers to as many rows as can be, 32 at least. Training
    takes the rest, at most one pass over the training rows. `options` are those of `plan`. Raises
    ValueError with the least hours if not even 32 rows and 10 steps fit.
    """

    def sized(kind: str, rows: int, steps: int) -> Profile:
        questions = steps * profile.prompts_per_step
        return replace(
            profile,
            eval=kind,
            test_rows=rows if rows < all_test else None,
            max_steps=steps,
            train_rows=questions if questions < all_train else None,
        )

    def ends(kind: str, rows: int, steps: int) -> bool:
        return plan(sized(kind, rows, steps), card, **options).hours <= hours

    def measures(kind: str, rows: int) -> bool:
        planned = plan(sized(kind, rows, MIN_STEPS), card, **options)
        little = planned.evaluation_hours <= EVALUATION_SHARE * hours
        return little and planned.hours <= hours

    all_train, all_test = timing.rows_of(profile)
    fewest = min(MIN_TEST_ROWS, all_test)
    kind = "none" if profile.eval == "none" else "short"
    if not ends(kind, fewest, MIN_STEPS):
        least = plan(sized(kind, fewest, MIN_STEPS), card, **options)
        needed = f"{profile.name} on {least.card} needs at least {least.hours + 0.05:.1f} hours"
        raise ValueError(
            f"{needed}, got {hours:g}: {least.download_hours:.1f} for the download, "
            f"{least.evaluation_hours:.1f} for {fewest if least.evaluation_hours else 0} test "
            f"questions, {least.training_hours:.1f} for {MIN_STEPS} steps"
        )
    rows = all_test
    if profile.eval == "full" and measures("full", all_test):
        kind = "full"
    elif kind == "short":
        rows = _largest(lambda n: measures("short", n), fewest, all_test)
    passes = -(-all_train // profile.prompts_per_step)
    steps = _largest(lambda n: ends(kind, rows, n), MIN_STEPS, passes)
    return sized(kind, rows, steps)


def _largest(fits, low: int, high: int) -> int:
    """The largest number up to `high` that fits, if all below it do; `low` without a look."""
    while low < high:
        middle = (low + high + 1) // 2
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
