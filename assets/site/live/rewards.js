// A port of soundmind_lite/rewards.py, course/explain.py and show.marked, with the same messages.
// tests/publish/test_web_rewards.py holds it to them. It needs python.js.
"use strict";
soundmind.rewards = (() => {
  const { rstrip, strip, words, count, partition, general } = soundmind.python;
  const VERDICTS = ["not-entailed", "entailed"]; // indexed by label
  const OPEN = "<think>", CLOSE = "</think>";
  // without the flag u, i stands for ASCII letters alone, as Python's re.ASCII has it
  const ANSWER_LINE = /^Answer: (not[- ]entailed|entailed)\.?$/i;

  // The text of a completion, a string or a conversation; content that isn't text counts as "".
  function completionText(completion) {
    const content = typeof completion === "string" ? completion : completion[0].content;
    return typeof content === "string" ? content : "";
  }

  // The last non-blank line, the only one that parseAnswer reads.
  function lastLine(text) {
    const stripped = rstrip(text);
    return strip(stripped.slice(stripped.lastIndexOf("\n") + 1));
  }

  // The verdict on the last non-blank line, "entailed" or "not-entailed"; null without one.
  function parseAnswer(text) {
    const match = ANSWER_LINE.exec(lastLine(text));
    return match && match[1].toLowerCase().replace(" ", "-");
  }

  // The text between the first <think> and the </think> after it; "" without such a pair.
  function reasoningOf(text) {
    const [inside, close] = partition(partition(text, OPEN)[2], CLOSE);
    return close ? inside : "";
  }

  // True for exactly one <think>…</think> with reasoning in it, then only the answer line.
  function hasTextFormat(completion) {
    const text = strip(completion);
    if (count(text, OPEN) !== 1 || count(text, CLOSE) !== 1 || !text.startsWith(OPEN)) return false;
    const after = strip(partition(text, CLOSE)[2]);
    return strip(reasoningOf(text)) !== "" && !after.includes("\n") && parseAnswer(text) !== null;
  }

  // 2 if the parsed answer is the label's verdict (1 for entailed, 0 for not-entailed), else 0.
  function answerReward(text, label) {
    if (label !== 0 && label !== 1) {
      throw new RangeError(`label must be 1 (entailed) or 0 (not-entailed), got ${label}`);
    }
    return parseAnswer(text) === VERDICTS[label] ? 2 : 0;
  }

  // 1 for the format that the prompt asks for, else 0, whichever the answer.
  const textFormatReward = text => Number(hasTextFormat(text));

  // min(1, L / L_ref): words of reasoning against those of the row's own reasoning.
  function textLengthReward(text, referenceLength) {
    if (!(Number.isFinite(referenceLength) && referenceLength > 0)) {
      const wanted = "reference_length must be a positive number of words";
      throw new RangeError(`${wanted}, got ${referenceLength}`);
    }
    return Math.min(1, words(reasoningOf(text)).length / referenceLength);
  }

  function aboutAnswer(text, label) {
    const said = parseAnswer(text), truth = VERDICTS[label];
    if (!strip(text)) return "the completion is empty";
    if (said === null) return "the last line is not an answer line";
    return said === truth
      ? `says ${said}, as the label does`
      : `says ${said}, the label says ${truth}`;
  }

  // The first deviation from the format that the prompt asks for, or null if there is none.
  function formatFault(completion) {
    if (hasTextFormat(completion)) return null;
    const text = strip(completion);
    if (!text) return "the completion is empty";
    for (const tag of [OPEN, CLOSE]) {
      const found = count(text, tag);
      if (found === 0) return `there is no ${tag}`;
      if (found > 1) return `${tag} occurs ${found} times instead of once`;
    }
    if (!text.startsWith(OPEN)) return `there is text before ${OPEN}`;
    // a </think> before the only <think> would be text before it, so the order is right here
    if (!strip(reasoningOf(text))) return "the thought is empty";
    const after = partition(text, CLOSE)[2];
    if (parseAnswer(text) === null) {
      if (!after.includes("\n") && parseAnswer(after) !== null) {
        return `the answer must be on a line of its own, after ${CLOSE}`;
      }
      return "there is no answer line after the thought";
    }
    return "there is text between the thought and the answer line";
  }

  function aboutLength(text, referenceLength) {
    if (!partition(text, OPEN)[2].includes(CLOSE)) return "there is no closed thought to count";
    const length = words(reasoningOf(text)).length;
    return `${length} words of reasoning, the reference has ${general(referenceLength)}`;
  }

  // The three text rewards of one completion, each with its reason and the part that it read.
  function explain(completion, label, referenceLength) {
    const text = completionText(completion);
    const fault = formatFault(text);
    return [
      {
        name: "answer",
        reward: answerReward(text, label),
        maximum: 2,
        reason: aboutAnswer(text, label),
        evidence: lastLine(text),
      },
      {
        name: "format",
        reward: textFormatReward(text),
        maximum: 1,
        reason: fault ?? "one closed thought, then the answer line",
        evidence: fault === null ? text : "",
      },
      {
        name: "length",
        reward: textLengthReward(text, referenceLength),
        maximum: 1,
        reason: aboutLength(text, referenceLength),
        evidence: reasoningOf(text),
      },
    ];
  }

  // A completion cut into [text, term]: the term, "length" or "answer", that reads the part, or "".
  function marked(text) {
    const thought = reasoningOf(text), answer = lastLine(text);
    const spans = [];
    if (thought) {
      const start = text.indexOf(OPEN) + OPEN.length;
      spans.push([start, start + thought.length, "length"]);
    }
    if (answer) {
      const start = text.lastIndexOf(answer);
      spans.push([start, start + answer.length, "answer"]);
    }
    const parts = [];
    let done = 0;
    for (const [start, end, term] of spans) {
      if (start < done) continue; // a thought that runs into the last line
      parts.push([text.slice(done, start), ""], [text.slice(start, end), term]);
      done = end;
    }
    parts.push([text.slice(done), ""]);
    return parts.filter(([part]) => part);
  }

  return {
    VERDICTS, completionText, lastLine, parseAnswer, reasoningOf, hasTextFormat, formatFault,
    answerReward, textFormatReward, textLengthReward, explain, marked,
  };
})();
