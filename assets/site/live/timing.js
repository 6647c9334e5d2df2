// How long a run takes: a port of soundmind_lite/scale/timing.py, whose names it keeps. The figures
// come from Python (`soundmind.data.planner`); here are the formulas alone. Times are in seconds.
"use strict";
soundmind.timing = (() => {
  const constants = () => soundmind.data.planner.timing;
  const model_of = profile => soundmind.data.planner.models[profile.model];
  const is_alr = profile => profile.data === soundmind.data.planner.ALR;
  const { cached_token, prompt_tokens, share_of } = soundmind.memory;

  // [training rows, test rows] that there are.
  function rows_of(profile) {
    const { ROWS } = constants();
    return ROWS[profile.data] ?? ROWS[soundmind.data.planner.ALR];
  }

  // [training rows, test rows] that a run fetches; no test rows where nothing is measured.
  function used_rows(profile) {
    const [all_train, all_test] = rows_of(profile);
    const train = Math.min(all_train, profile.train_rows ?? all_train);
    const test = Math.min(all_test, profile.test_rows ?? all_test);
    return [train, profile.eval === "none" ? 0 : test];
  }

  // The mean length of a question, at most the profile's longest.
  function clip_seconds(profile) {
    const { CLIP_SECONDS } = constants();
    const mean = CLIP_SECONDS[profile.data] ?? CLIP_SECONDS[soundmind.data.planner.ALR];
    return Math.min(mean, profile.max_audio_seconds);
  }

  // In which each row gets one token, after reading `cached_tokens` in all.
  function token_seconds(profile, card, cached_tokens) {
    const { counts, text } = model_of(profile);
    const { BYTES, NF4_BYTES } = soundmind.data.planner.memory;
    const { LAUNCH, LAUNCH_4BIT, DECODE_SHARE } = constants();
    const size = BYTES[profile.dtype];
    const linear = profile.load_in_4bit ? NF4_BYTES + 2 * size : size;
    const cache = cached_tokens * cached_token(profile);
    const moved = counts.linear * linear + counts.head * size + cache;
    const launch = profile.load_in_4bit ? LAUNCH_4BIT : LAUNCH;
    const reading = moved / (card.bandwidth * 1e9 * DECODE_SHARE);
    return Math.max(text.num_hidden_layers * launch, reading);
  }

  // Of a forward pass over `tokens`.
  function compute_seconds(profile, card, tokens) {
    const { counts } = model_of(profile);
    const operations = 2 * (counts.all - counts.vision) * tokens;
    return operations / (card.tflops * 1e12 * constants().TRAIN_SHARE);
  }

  // Of a training step: decoding, prefill, a reference pass, and a policy pass.
  function step_seconds(profile, card, { audio_seconds, processes }) {
    const share = share_of(profile, processes);
    const prompt = prompt_tokens(audio_seconds);
    const completion = profile.max_completion_length;
    const prefill = share.prompts * prompt;
    const scored = prefill + share.completions * completion;
    const policy = profile.gradient_checkpointing
      ? 4 * share.completions * (prompt + completion) : 3 * scored;
    const cached = prefill + share.completions * completion / 2;
    const token = token_seconds(profile, card, cached);
    return completion * token + compute_seconds(profile, card, prefill + scored + policy);
  }

  // Of a run's measurements: before, after, and with another row's audio.
  function evaluation_seconds(profile, card, { audio_seconds, processes }) {
    const { MEASUREMENTS, ANSWERS } = constants();
    const rows = Math.ceil(used_rows(profile)[1] / processes);
    const batch = Math.min(profile.per_device_eval_batch_size, Math.max(1, rows));
    const calls = MEASUREMENTS * ANSWERS[profile.eval] * Math.ceil(rows / batch);
    const prompt = prompt_tokens(audio_seconds);
    const completion = profile.max_completion_length;
    const token = token_seconds(profile, card, batch * (prompt + completion / 2));
    return calls * (completion * token + compute_seconds(profile, card, batch * prompt));
  }

  // GB of a checkpoint on the hub.
  function checkpoint_gb(profile) {
    const { CHECKPOINT_GB, TALKER_GB } = constants();
    return CHECKPOINT_GB[profile.model] ?? 2 * model_of(profile).counts.all / 1e9 + TALKER_GB;
  }

  // The questions to fetch, each a file.
  function files_of(profile) {
    const [train, test] = used_rows(profile);
    return is_alr(profile) ? train + test : 0;
  }

  // Of the download, on the assumed connection.
  function download_seconds(profile) {
    const { CLIP_GB, CONNECTION_GB, FILE_SECONDS } = constants();
    const files = files_of(profile);
    const gb = checkpoint_gb(profile) + files * CLIP_GB * clip_seconds(profile);
    return gb / CONNECTION_GB + files * FILE_SECONDS;
  }

  return { clip_seconds, download_seconds, evaluation_seconds, is_alr, rows_of, step_seconds,
    used_rows };
})();
