// tiny_omni in the page: a spoken question in, its answer out, word by word.
//
// This is the forward pass of Qwen2.5-Omni's thinker in a few hundred lines: mel.js makes the
// sound's features, audio_encoder.js vectors of them, decoder.js the next token; layers.js has
// what both networks are made of. The sizes come with the weights. Nothing is sent anywhere.
"use strict";
(() => {
  // Lets the page draw and answer clicks; sooner than setTimeout, which waits 4 ms.
  soundmind.pause = () => new Promise(done => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      channel.port1.close();
      done();
    };
    channel.port2.postMessage(0);
  });

  // The bytes that base64 stands for.
  soundmind.bytes = text => {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
    return bytes;
  };

  // {name: Float32Array} of what `web_model` wrote: all numbers in one string, and their shapes.
  function tensors({ shapes, base64 }) {
    const numbers = new Float32Array(soundmind.bytes(base64).buffer);
    const found = {};
    let start = 0;
    for (const [name, shape] of Object.entries(shapes)) {
      const length = shape.reduce((a, b) => a * b);
      found[name] = numbers.subarray(start, start + length);
      start += length;
    }
    return found;
  }

  // The weights with a LoRA adapter merged into them: W + scale · B A, for A (rank, inputs) and
  // B (outputs, rank). What the adapter leaves alone is shared with the original.
  async function merged(weights, adapter, { rank, scale }) {
    const result = { ...weights };
    for (const name of Object.keys(adapter).filter(name => name.endsWith(".lora_A.weight"))) {
      const target = name.replace(".lora_A", "");
      const a = adapter[name], b = adapter[name.replace("lora_A", "lora_B")];
      const inputs = a.length / rank;
      result[target] = weights[target].map((value, i) => {
        const row = Math.floor(i / inputs) * rank, column = i % inputs;
        let change = 0;
        for (let r = 0; r < rank; r++) change += b[row + r] * a[r * inputs + column];
        return value + scale * change;
      });
      await soundmind.pause();
    }
    return result;
  }

  let loaded = null;
  // The model with its weights before and after training; about 9 MB, loaded once.
  soundmind.tinyOmni = () => {
    loaded ??= load().catch(error => {
      loaded = null; // so that the next try is one
      throw error;
    });
    return loaded;
  };

  async function load() {
    await soundmind.script("layers");
    await Promise.all(["mel", "audio_encoder", "decoder"].map(soundmind.script));
    const [model, adapter] =
      await Promise.all(["tiny_omni", "tiny_omni_adapter"].map(soundmind.load));
    const before = tensors(model.weights);
    const after = await merged(before, tensors(adapter.weights), adapter);
    return new TinyOmni(model, { before, after });
  }

  class TinyOmni {
    constructor(model, weights) {
      Object.assign(this, model); // mel, audio, text, prompt, tokens and more: see web_model.py
      this.weights = weights; // {before, after: {name: Float32Array}}
    }

    // Mel features (frames, 128) of a mono clip at 16 kHz.
    features(samples) {
      return soundmind.mel.features(samples, this.weights.before.mel_filters, this.mel);
    }

    // What the language model gets of a clip's features, (25 a second, width). Training leaves
    // the audio encoder alone, so it is the same before and after.
    encode(features) {
      return soundmind.audioEncoder.encode(features, this.weights.before, this.audio);
    }

    // The embeddings of tokens, (tokens, width).
    embeddings(ids, weights) {
      const width = weights["model.norm.weight"].length;
      const table = weights["model.embed_tokens.weight"];
      return soundmind.layers.joined(ids.map(id => table.subarray(id * width, (id + 1) * width)));
    }

    // Reads the prompt around the sound, a block of it at a time: {cache, logits}.
    async read(sound, weights) {
      const { before, after } = this.prompt;
      const prompt = soundmind.layers.joined(
        [this.embeddings(before, weights), sound, this.embeddings(after, weights)]);
      const width = weights["model.norm.weight"].length;
      const positions = prompt.length / width + this.max_completion_length;
      const cache = soundmind.decoder.emptyCache(positions, weights, this.text);
      let logits;
      for (let start = 0; start < prompt.length; start += 32 * width) {
        const block = prompt.slice(start, start + 32 * width);
        logits = soundmind.decoder.nextLogits(block, cache, weights, this.text);
        await soundmind.pause();
      }
      return { cache, logits };
    }

    // The token with the highest score, but for those that stand for audio or pictures.
    best(logits) {
      let best = -1;
      for (let id = 0; id < logits.length; id++) {
        if (this.suppressed.includes(id)) continue;
        if (best < 0 || logits[id] > logits[best]) best = id;
      }
      return best;
    }

    // The answer to a clip that was encoded: greedy, at most `max_completion_length` tokens.
    // `which` is "before" or "after". `shown` gets the text so far with each token, and ends the
    // answer if it returns false.
    async answer(sound, which, shown = () => {}) {
      const weights = this.weights[which];
      let { cache, logits } = await this.read(sound, weights);
      const ids = [];
      while (ids.length < this.max_completion_length) {
        const id = this.best(logits);
        if (this.stop.includes(id)) break;
        ids.push(id);
        if (shown(this.decode(ids)) === false) break;
        await soundmind.pause();
        const word = this.embeddings([id], weights);
        logits = soundmind.decoder.nextLogits(word, cache, weights, this.text);
      }
      return this.decode(ids);
    }

    // The text of tokens. Each token is a string of bytes; special ones are left out.
    decode(ids) {
      const letters = ids.map(id => this.tokens[id]).join("");
      const bytes = Uint8Array.from(letters, letter => letter.charCodeAt(0));
      return new TextDecoder().decode(bytes);
    }
  }
})();
