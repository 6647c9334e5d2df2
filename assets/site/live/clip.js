// A clip as the model takes it: mono, 16 kHz, from a file or the microphone. It stays in the page.
"use strict";
soundmind.clip = (() => {
  // Samples of the bytes of a sound file, in any format that the browser plays.
  //
  // The browser resamples while it decodes. The mean of the channels is taken, as in Python.
  // Rejects with words for a reader if the bytes can't be decoded.
  async function decoded(bytes, rate) {
    let sound;
    try {
      sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes.slice().buffer);
    } catch {
      throw new Error("this browser can't read the clip as sound");
    }
    const channels = Array.from({ length: sound.numberOfChannels }, (_, i) =>
      sound.getChannelData(i));
    return channels[0].map((_, i) =>
      channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length);
  }

  // Throws, with words for a reader, unless the model takes a clip of so many samples.
  function check(samples, rate, longest) {
    const seconds = samples.length / rate;
    if (seconds < 0.05) throw new Error(`the clip has ${seconds.toFixed(2)} s, too little to hear`);
    if (seconds > longest) {
      throw new Error(`the clip has ${seconds.toFixed(1)} s, and the model takes ${longest} s`);
    }
  }

  // The samples as the model knows clips: loud enough, and without silence at the ends.
  //
  // It learned from clips whose largest sample is from 0.5 to 1, half of them below 0.63, and that
  // begin and end with a moment of silence. At a tenth of that level, or with seconds of silence
  // behind the question, it mishears. A clip that is as it should be stays as it is.
  function asLearned(samples, rate) {
    const largest = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    if (largest === 0) return samples;
    const isLoud = sample => Math.abs(sample) > 0.03 * largest;
    const first = samples.findIndex(isLoud), last = samples.findLastIndex(isLoud);
    const start = first > 0.5 * rate ? first - 0.05 * rate : 0;
    const end = samples.length - last > 0.5 * rate ? last + 0.25 * rate : samples.length;
    const scale = largest < 0.5 ? 0.62 / largest : 1;
    return samples.slice(start, end).map(sample => sample * scale);
  }

  // Records until the `stop` that it returns is called, or for `longest` seconds; `done` gets the
  // recording, a Blob. Rejects if the page gets no microphone.
  async function record(longest, done) {
    const devices = navigator.mediaDevices;
    if (!devices) throw new Error("browsers give a microphone to https pages only");
    const stream = await devices.getUserMedia({ audio: true });
    const recorder = new MediaRecorder(stream);
    const parts = [];
    const timer = setTimeout(() => recorder.stop(), 1000 * longest);
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    recorder.addEventListener("stop", () => {
      clearTimeout(timer);
      stream.getTracks().forEach(track => track.stop()); // the browser's red dot goes out
      done(new Blob(parts, { type: recorder.mimeType }));
    });
    recorder.start();
    return () => {
      if (recorder.state !== "inactive") recorder.stop();
    };
  }

  return { decoded, check, asLearned, record };
})();
