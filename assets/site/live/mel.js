// Log-mel features: what a model of the Whisper family sees of a sound.
//
// Every 10 ms the energy in 128 bands, spaced like human hearing, as a logarithm: a picture of the
// sound, 128 high and 100 wide a second. This is transformers' WhisperFeatureExtractor.
"use strict";
soundmind.mel = (() => {
  const { linear } = soundmind.layers;

  // The cosines and sines of the discrete Fourier transform, (frequency, sample of a window / 2).
  const tables = new Map();
  function table(size) {
    if (!tables.has(size)) {
      const half = size / 2 + 1;
      const cosines = new Float64Array(half * half), sines = new Float64Array(half * half);
      for (let k = 0; k < half; k++) {
        for (let n = 0; n < half; n++) {
          const angle = 2 * Math.PI * (k * n % size) / size;
          cosines[k * half + n] = Math.cos(angle);
          sines[k * half + n] = Math.sin(angle);
        }
      }
      tables.set(size, { cosines, sines });
    }
    return tables.get(size);
  }

  // The window of `size` samples around a sample, faded in and out (Hann). Before the clip its own
  // beginning is mirrored; behind it there is silence.
  function windowAt(samples, centre, size) {
    const result = new Float64Array(size);
    for (let n = 0; n < size; n++) {
      const sample = samples[Math.abs(centre + n - size / 2)] ?? 0;
      result[n] = sample * (0.5 - 0.5 * Math.cos(2 * Math.PI * n / size));
    }
    return result;
  }

  // The energy of a window at 0, 1, … size / 2 waves per window.
  //
  // A cosine is even and a sine is odd around the window's start, so that samples n and size - n
  // are added for the one, subtracted for the other, and half the products are enough.
  function power(window, { cosines, sines }, result, to) {
    const size = window.length;
    const half = size / 2 + 1;
    const even = window.slice(0, half), odd = window.slice(0, half);
    for (let n = 1; n < half - 1; n++) {
      even[n] += window[size - n];
      odd[n] -= window[size - n];
    }
    for (let k = 0; k < half; k++) {
      let real = 0, imaginary = 0;
      for (let n = 0; n < half; n++) {
        real += even[n] * cosines[k * half + n];
        imaginary += odd[n] * sines[k * half + n];
      }
      result[to + k] = real * real + imaginary * imaginary;
    }
  }

  // Features (frames, bands) of a mono clip at 16 kHz. `filters` (bands, frequencies) says how
  // much of each frequency belongs to each band.
  //
  // Nothing below a hundred-millionth (8 powers of ten) of the loudest energy counts, so that the
  // noise floor looks the same everywhere. The loudest is sought in the silence behind the clip,
  // too, whose first windows still reach back into it.
  function features(samples, filters, { n_fft: size, hop_length: hop }) {
    const frames = Math.ceil(samples.length / hop);
    const computed = frames + Math.ceil(size / 2 / hop);
    const energies = new Float32Array(computed * (size / 2 + 1));
    for (let frame = 0; frame < computed; frame++) {
      const window = windowAt(samples, frame * hop, size);
      power(window, table(size), energies, frame * (size / 2 + 1));
    }
    const logs = linear(energies, computed, filters).map(e => Math.log10(Math.max(e, 1e-10)));
    const floor = logs.reduce((a, b) => Math.max(a, b)) - 8;
    const scaled = logs.map(value => (Math.max(value, floor) + 4) / 4);
    return scaled.slice(0, frames * scaled.length / computed);
  }

  return { features };
})();
