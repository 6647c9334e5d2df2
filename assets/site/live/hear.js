// One test question to hear, with the model's answer before and after training. It has the boxes of
// the static picture that `web_run.hear_box` makes, so that little jumps when it takes its place.
"use strict";
(() => {
  const { make } = soundmind;

  // A large button that plays a clip, with a line that shows how far it is.
  function player() {
    const sign = make("span", { class: "hear-sign", "aria-hidden": "true" });
    const words = make("span");
    const done = soundmind.bar(0, 1);
    const audio = make("audio", { preload: "auto" });
    const button = make("button", { type: "button", class: "hear-button" }, sign, words);

    function show() {
      sign.classList.toggle("playing", !audio.paused);
      words.textContent = audio.paused ? "Hear the question" : "Pause";
    }
    function move() {
      const share = audio.duration ? audio.currentTime / audio.duration : 0;
      done.firstChild.style.width = `${100 * share}%`;
      if (!audio.paused) requestAnimationFrame(move);
    }
    button.addEventListener("click", () => {
      if (audio.paused) audio.play().catch(show); // another clip was taken meanwhile
      else audio.pause();
    });
    for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, show);
    audio.addEventListener("play", move);
    audio.addEventListener("error", () => { words.textContent = "The clip can't be played"; });
    show();
    return {
      box: make("div", { class: "hear-play" }, button, done, audio),
      // Takes another clip, from its beginning.
      take(source) {
        audio.pause();
        audio.src = source;
        done.firstChild.style.width = "0";
        show();
      },
    };
  }

  // One answer, with whether it is right.
  function answerCard(title, { text, correct }) {
    const verdict = correct ? "right" : "wrong";
    const badge = make("span", { class: `lab-verdict ${verdict}` }, verdict);
    return make("section", {},
      make("p", {}, make("strong", {}, title), " ", badge), make("p", { class: "lab-text" }, text));
  }

  // `id`: the question to begin with.
  soundmind.labs.hear = async ({ id } = {}) => {
    const { questions, tally } = await soundmind.load("hear");
    let shown = Math.max(0, questions.findIndex(question => question.id === id));
    const { box, take } = player();
    const transcript = make("p", { class: "hear-question" });
    const label = make("p");
    const answers = make("div", { class: "hear-answers" });
    const outcome = make("p", { class: "hear-outcome", "aria-live": "polite" });

    function redraw() {
      const question = questions[shown];
      take(soundmind.file(question.clip));
      transcript.textContent = question.question;
      label.replaceChildren(`Does the conclusion follow? ${question.follows}: the label is `,
        make("strong", {}, question.label), ".");
      answers.replaceChildren(
        answerCard("Before training", question.before),
        answerCard("After training", question.after));
      outcome.textContent = `Question ${shown + 1} of ${questions.length}. ${question.outcome}`;
    }
    function another() {
      shown = (shown + 1) % questions.length;
      redraw();
    }
    const next = make("button", { type: "button", onclick: another }, "Another question");
    redraw();
    return make("div", { class: "lab hear" }, box, transcript, label, answers,
      make("div", { class: "hear-next" }, next, outcome), make("p", { class: "lab-note" }, tally));
  };
})();
