// What a run takes of a card's memory: a port of soundmind_lite/scale/memory.py, whose names it
// keeps. The figures come from Python (`soundmind.data.planner`); here are the formulas alone.
// Left out: models that are sharded over several cards, which no plan is made for.
"use strict";
soundmind.memory = (() => {
  const constants = () => soundmind.data.planner.memory;
  const sum = parts => Object.values(parts).reduce((total, part) => total + part, 0);

  // The name of the largest value; the first of equal ones, as Python's max.
  const largest = values =>
    Object.keys(values).reduce((best, name) => (values[name] > values[best] ? name : best));

  // The audio tokens of a number of mel frames.
  const audio_token_count = frames =>
    Math.floor((Math.floor((frames - 1) / 2) + 1 - 2) / 2) + 1;

  // The tokens of a prompt with a clip of that many seconds.
  const prompt_tokens = audio_seconds =>
    audio_token_count(Math.trunc(100 * audio_seconds)) + constants().INSTRUCTION_TOKENS;

  // What each of `processes` does of a step: its completions, and the prompts it computes for them.
  function share_of(profile, processes = 1) {
    const completions = Math.ceil(profile.prompts_per_step * profile.num_generations / processes);
    const distinct = Math.ceil(completions / profile.num_generations);
    return { completions, prompts: profile.shared_prefix ? distinct : completions };
  }

  // The bytes of a token in the KV cache.
  function cached_token(profile) {
    const { text } = soundmind.data.planner.models[profile.model];
    const head_size = Math.floor(text.hidden_size / text.num_attention_heads);
    const heads = text.num_hidden_layers * text.num_key_value_heads;
    return 2 * heads * head_size * constants().BYTES[profile.dtype];
  }

  // The bytes of a run's parts, by phase.
  class Sizes {
    constructor(profile, audio_seconds) {
      const { counts, text, audio } = soundmind.data.planner.models[profile.model];
      Object.assign(this, { profile, counts, text, audio });
      this.size = constants().BYTES[profile.dtype];
      this.prompt = prompt_tokens(audio_seconds);
      this.frames = Math.trunc(100 * audio_seconds);
      this.completion = profile.max_completion_length;
      this.cached_token = cached_token(profile);
      this.width = text.hidden_size;
      this.wide = text.intermediate_size;
    }

    // What stays all the time. An adapter's parameter has four fp32 numbers: itself, its gradient
    // and two moments.
    lasting() {
      const { counts, profile, size } = this;
      const { NF4_BYTES, OVERHEAD_GB, GB } = constants();
      const linear_size = profile.load_in_4bit ? NF4_BYTES : size;
      return {
        "weights": counts.linear * linear_size + (counts.all - counts.linear) * size,
        "adapter and optimizer": counts["lora per rank"] * profile.lora_r * 16,
        "overhead": OVERHEAD_GB * GB,
      };
    }

    // Sampling and evaluation: a prefill of `prompts`, then decoding of `rows`.
    answering(rows, prompts, all_logits) {
      const positions = all_logits ? prompts * this.prompt : 0;
      const logits = Math.max(positions * this.size, rows * 16) * this.text.vocab_size;
      return {
        "KV cache": this.cached_token * (prompts * this.prompt + rows * this.completion),
        "activations": Math.max(0, this.prefill(prompts) - logits),
        logits,
      };
    }

    prefill(prompts) {
      const { d_model, encoder_ffn_dim } = this.audio;
      const positions = prompts * Math.floor(this.frames / 2);
      const encoder = positions * (6 * d_model + 2 * encoder_ffn_dim) * this.size;
      return Math.max(encoder, this.forward(prompts * this.prompt));
    }

    // One layer without gradients.
    forward(tokens) {
      return tokens * (6 * this.width + 6 * this.wide) * this.size + this.unpacked();
    }

    // The largest 4-bit matrix, unpacked.
    unpacked() {
      return this.profile.load_in_4bit ? this.width * this.wide * this.size : 0;
    }

    // The reference's log-probs of `batch` rows.
    scoring(batch) {
      const tokens = batch * (this.prompt + this.completion);
      const cached = this.profile.shared_prefix ? 2 * tokens : 0;
      return {
        "KV cache": this.cached_token * cached,
        "activations": this.forward(tokens),
        "logits": this.tile(batch),
      };
    }

    // Forward and backward of `batch` rows.
    policy_pass(batch) {
      const { width, wide, size } = this;
      const tokens = batch * (this.prompt + this.completion);
      let kept = tokens * (14 * width + 4 * wide) * size;
      let working = tokens * 4 * wide * size + this.unpacked();
      if (this.profile.gradient_checkpointing) {
        working += kept;
        kept = tokens * width * size;
      }
      const gradient = batch * this.completion * width * (4 + size);
      return {
        "activations": this.text.num_hidden_layers * kept + working,
        "logits": this.tile(batch) + gradient,
      };
    }

    tile(batch) {
      const [tokens, vocabulary] = constants().TILE;
      const rows = Math.min(tokens, batch * this.completion);
      return rows * Math.min(vocabulary, this.text.vocab_size) * this.size;
    }
  }

  const in_gb = parts => Object.fromEntries(
    Object.entries(parts).map(([name, size]) => [name, size / constants().GB]));

  // GB on one card: `lasting`, `phases`, the `peak` (the phase that needs most), its `parts` and
  // their sum, `total_gb`.
  function memory_of(profile, processes = 1) {
    const sizes = new Sizes(profile, profile.max_audio_seconds);
    const share = share_of(profile, processes);
    const batch = profile.per_device_train_batch_size;
    const phases = {
      "sampling": sizes.answering(share.completions, share.prompts, !profile.shared_prefix),
      "scoring": sizes.scoring(batch),
      "policy pass": sizes.policy_pass(batch),
    };
    if (profile.eval !== "none") {
      const rows = profile.per_device_eval_batch_size;
      phases.evaluation = sizes.answering(rows, rows, false);
    }
    for (const name of Object.keys(phases)) phases[name] = in_gb(phases[name]);
    const lasting = in_gb(sizes.lasting());
    const totals = Object.fromEntries(
      Object.entries(phases).map(([name, parts]) => [name, sum(lasting) + sum(parts)]));
    const peak = largest(totals);
    const parts = { ...lasting, ...phases[peak] };
    return { lasting, phases, peak, parts, total_gb: totals[peak] };
  }

  return { cached_token, largest, memory_of, prompt_tokens, share_of, sum };
})();
