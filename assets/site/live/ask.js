// Ask tiny_omni in the page: a question of the test split, a recording or a file; both answers.
"use strict";
(() => {
  const { make } = soundmind;
  const NAMES = { before: "Before training", after: "After training" };
  const LONGEST = 11; // seconds of a recording; the model takes 12

  // A card that an answer streams into.
  function answerCard(which) {
    const verdict = make("span", { "aria-live": "polite" });
    const text = make("p", { class: "lab-text" });
    const title = make("p", {}, make("strong", {}, NAMES[which]), " ", verdict);
    const card = make("section", {}, title, text);
    return {
      card,
      clear() {
        verdict.className = verdict.textContent = "";
        text.textContent = "";
      },
      show(answer) { text.textContent = answer; },
      // `label`: 0 or 1, or null where nobody knows
      judge(answer, label) {
        const said = soundmind.rewards.parseAnswer(answer);
        if (label === null) {
          verdict.textContent = said ? `says ${said}` : "gives no answer";
          return;
        }
        const right = said === soundmind.rewards.VERDICTS[label];
        verdict.className = `lab-verdict ${right ? "right" : "wrong"}`;
        verdict.textContent = right ? "right" : "wrong";
      },
    };
  }

  // The mel features of a clip, and how much of it reaches the language model.
  function pictureOf(features, sound, { audio, sample_rate: rate, mel }) {
    const columns = features.length / audio.bands;
    const seconds = (columns * mel.hop_length / rate).toFixed(1);
    return [soundmind.melPicture(features, audio.bands),
      make("p", { class: "lab-note" },
        `${seconds} s of sound as energies in ${audio.bands} bands, from low (at the bottom) to `,
        `high, ${rate / mel.hop_length} times a second: ${columns} columns. The audio encoder `,
        `makes ${sound.length / audio.width} vectors of them, which the language model reads `,
        "like words.")];
  }

  // The two answers to a clip, and how long they took.
  //
  // `ask(samplesOf, label, remark)` fills them, and `clear` empties them; either ends an answer
  // that is still being written.
  function answers() {
    const cards = { before: answerCard("before"), after: answerCard("after") };
    const status = make("p", { class: "lab-note", "aria-live": "polite" });
    const box = make("div", { class: "hear-answers", hidden: true },
      ...Object.values(cards).map(card => card.card));
    const pictured = make("div");
    const heard = make("details", { hidden: true }, make("summary", {}, "What it got of the sound"),
      pictured);
    let asked = 0; // how often

    function clear() {
      asked++;
      box.hidden = heard.hidden = true;
      status.textContent = "";
      Object.values(cards).forEach(card => card.clear());
    }
    async function ask(samplesOf, label = null, remark = "") {
      clear();
      const mine = asked;
      const isMine = () => mine === asked;
      const say = text => { if (isMine()) status.textContent = text; };
      try {
        say("Loading the model, 9 MB, once …");
        const model = await soundmind.tinyOmni();
        say("The model hears the clip …");
        const samples = await samplesOf(model);
        soundmind.clip.check(samples, model.sample_rate, model.max_audio_seconds);
        const start = performance.now();
        const features = model.features(samples);
        const sound = await model.encode(features);
        if (!isMine()) return;
        pictured.replaceChildren(...pictureOf(features, sound, model));
        box.hidden = heard.hidden = false;
        for (const [which, card] of Object.entries(cards)) {
          const answer = await model.answer(sound, which, text => isMine() && card.show(text));
          if (!isMine()) return;
          card.judge(answer, label);
        }
        const seconds = ((performance.now() - start) / 1000).toFixed(1);
        say(`${remark} Heard and answered twice in ${seconds} s, in this page.`.trim());
      } catch (error) {
        say(`There is no answer: ${error.message}.`);
      }
    }
    return { ask, clear, parts: [box, status, heard] };
  }

  function button(words, clicked, kind = "") {
    return make("button", { type: "button", class: kind, onclick: clicked }, words);
  }

  // A question of the test split: pick it, hear it, ask it.
  function shipped({ questions, remarks }, first) {
    const { ask, clear, parts } = answers();
    const audio = make("audio", { controls: true, "aria-label": "the spoken question" });
    const transcript = make("p");
    const folded = make("details", {}, make("summary", {}, "Transcript and label"), transcript);
    let question, clip;
    function choose(id) {
      question = questions.find(question => question.id === id) ?? questions[0];
      const mine = clip = soundmind.load(`ask_${question.id}`);
      const play = flac => { if (mine === clip) audio.src = `data:audio/flac;base64,${flac}`; };
      clip.then(play, () => {}); // what can't be loaded is said when it is asked
      clear();
      const verdict = make("strong", {}, soundmind.rewards.VERDICTS[question.label]);
      folded.open = false;
      transcript.replaceChildren(question.question, " The label says ", verdict, ".");
    }
    function asked() {
      const flac = clip; // of the question now, whatever is chosen while the model is loaded
      const samples = async model =>
        soundmind.clip.decoded(soundmind.bytes(await flac), model.sample_rate);
      return ask(samples, question.label, remarks[question.id]);
    }
    choose(first);
    const total = questions.length;
    const names = questions.map(({ id }, i) => [id, `${i + 1} of ${total}, test row ${id}`]);
    const picker = soundmind.choice("Question", names, question.id, choose);
    return [make("div", { class: "lab-controls" }, picker, audio), folded,
      make("p", {}, button("Ask the model", asked, "ask-button")), ...parts];
  }

  // A question of one's own: record it or choose a file, hear it, ask it.
  function own({ nouns, quantifiers, example }) {
    const { ask, clear, parts } = answers();
    const player = make("div");
    const status = make("p", { class: "lab-note", "aria-live": "polite" });
    let clip, stop, src;
    const asked = button("Ask the model", () => ask(async model => {
      const bytes = new Uint8Array(await clip.arrayBuffer());
      const samples = await soundmind.clip.decoded(bytes, model.sample_rate);
      return soundmind.clip.asLearned(samples, model.sample_rate);
    }), "ask-button");
    asked.disabled = true;
    function take(blob) {
      clip = blob;
      clear();
      URL.revokeObjectURL(src); // of the clip before
      src = URL.createObjectURL(blob);
      player.replaceChildren(make("audio", { controls: true, "aria-label": "your question", src }));
      asked.disabled = false;
    }
    function recorded(blob) {
      take(blob);
      stop = null;
      recorder.textContent = "Record again";
      status.textContent = "";
    }
    async function record() {
      if (stop) return stop();
      recorder.disabled = true; // while the browser asks
      try {
        stop = await soundmind.clip.record(LONGEST, recorded);
        recorder.textContent = "Stop";
        status.textContent = `Recording, for ${LONGEST} s at most …`;
      } catch (error) {
        status.textContent = `There is no microphone (${error.message}). Choose a file instead.`;
      }
      recorder.disabled = false;
      recorder.focus();
    }
    const recorder = button("Record", record);
    const chosen = () => file.files.length && take(file.files[0]);
    const file = make("input", { type: "file", accept: "audio/*", onchange: chosen });
    const forms = quantifiers.map(word => `“${word} … are …”`).join(", ");
    return make("details", {}, make("summary", {}, "Ask a question of your own"),
      make("p", {}, "Say three sentences, like these: ", make("q", {}, example)),
      make("p", {},
        `A statement is one of ${forms}, with two of these nouns: ${nouns.join(", ")}.`),
      make("p", {},
        "The model learned from one synthetic voice, at one pace and without noise, so it will ",
        "most likely mishear you; its answer repeats what it heard. A quiet clip is made louder, ",
        "and silence at its ends is cut. What you record stays in this page and is sent nowhere."),
      make("div", { class: "lab-controls" }, recorder,
        make("label", { class: "lab-control" }, make("span", {}, "or a file"), file)),
      status, player, make("p", {}, asked), ...parts);
  }

  // `id`: the question to begin with.
  soundmind.labs.ask = async ({ id } = {}) => {
    await soundmind.script("python");
    await Promise.all(["rewards", "clip", "tiny_omni", "mel_picture"].map(soundmind.script));
    const data = await soundmind.load("ask");
    return make("div", { class: "lab ask" }, ...shipped(data, id), own(data));
  };
})();
