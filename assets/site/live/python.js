// What Python does with text and numbers and JavaScript does otherwise, for ports of the library.
"use strict";
soundmind.python = (() => {
  // JavaScript's \s lacks \x1c to \x1f and \x85, and has \ufeff
  const SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
  const SPACES = new RegExp(`${SPACE.source}+`);

  // str.rstrip; loops, since a regular expression takes quadratic time here.
  function rstrip(text) {
    let end = text.length;
    while (end > 0 && SPACE.test(text[end - 1])) end--;
    return text.slice(0, end);
  }

  // str.strip
  function strip(text) {
    let start = 0;
    while (start < text.length && SPACE.test(text[start])) start++;
    return rstrip(text.slice(start));
  }

  // str.split without an argument: the words of a text.
  const words = text => text.split(SPACES).filter(word => word);

  // str.count
  const count = (text, part) => text.split(part).length - 1;

  // str.partition: what precedes the first `mark`, the mark, and the rest.
  function partition(text, mark) {
    const at = text.indexOf(mark);
    if (at < 0) return [text, "", ""];
    return [text.slice(0, at), mark, text.slice(at + mark.length)];
  }

  // f"{x:.2f}" with `digits` for the 2, below 1e21. Where x is half-way between two results,
  // Python takes the even one, toFixed the larger. It is half-way exactly if it is an odd multiple
  // of 2^-(digits + 1).
  function fixed(x, digits) {
    const shown = Object.is(x, -0) ? `-${(0).toFixed(digits)}` : x.toFixed(digits);
    const halfWay = Math.abs(x * 2 ** (digits + 1)) % 2 === 1;
    const last = Number(shown.at(-1));
    return halfWay && last % 2 ? shown.slice(0, -1) + (last - 1) : shown;
  }

  // f"{x:.0%}"
  const percent = x => `${fixed(100 * x, 0)}%`;

  // f"{x:g}": six significant digits, without zeros at the end.
  function general(x) {
    const [digits, exponent] = x.toExponential(5).split("e");
    const short = number => number.includes(".") ? number.replace(/\.?0+$/, "") : number;
    const power = Number(exponent);
    if (power >= -4 && power < 6) return short(fixed(x, 5 - power));
    return `${short(digits)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }

  return { rstrip, strip, words, count, partition, fixed, percent, general };
})();
