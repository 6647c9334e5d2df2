// The audio encoder of Qwen2.5-Omni's thinker: mel features in, 25 vectors a second out.
//
// Its vectors are as wide as the embeddings of the language model, which reads them like words.
// The encoder works on 2 s at a time and nothing passes between those chunks, so sound can be
// encoded as it comes in.
"use strict";
soundmind.audioEncoder = (() => {
  const { linear, joined, add, layerNorm, gelu, attention } = soundmind.layers;

  // A convolution over time of width 3: x (frames, channels) → (frames / stride, outputs).
  // The three frames that an output sees are put side by side; the rest is a matrix product.
  function convolution(x, frames, weight, bias, stride) {
    const channels = x.length / frames;
    const outputs = Math.floor((frames - 1) / stride) + 1;
    const seen = new Float32Array(outputs * 3 * channels); // zeros beyond both ends
    for (let t = 0; t < outputs; t++) {
      for (let k = 0; k < 3; k++) {
        const from = t * stride + k - 1;
        if (from < 0 || from >= frames) continue;
        seen.set(x.subarray(from * channels, (from + 1) * channels), (3 * t + k) * channels);
      }
    }
    return linear(seen, outputs, weight, bias);
  }

  // Where a vector stands in its chunk, added to it: sines and cosines of growing wavelength, of
  // float32 angles, as PyTorch's.
  function addPositions(x, width) {
    const half = width / 2;
    for (let i = 0; i < half; i++) {
      const frequency = Math.fround(Math.exp(-Math.log(10000) / (half - 1) * i));
      for (let t = 0; t * width < x.length; t++) {
        x[t * width + i] += Math.sin(Math.fround(t * frequency));
        x[t * width + half + i] += Math.cos(Math.fround(t * frequency));
      }
    }
  }

  // One transformer layer, in place: attention within the chunk, then a network for each vector.
  function layer(x, rows, weights, name, heads) {
    const get = part => weights[`${name}.${part}`];
    const norm = part => layerNorm(x, get(`${part}.weight`), get(`${part}.bias`));
    const dense = (y, part) => linear(y, rows, get(`${part}.weight`), get(`${part}.bias`));
    const size = x.length / rows / heads;
    const normed = norm("self_attn_layer_norm");
    const [queries, keys, values] =
      ["q_proj", "k_proj", "v_proj"].map(part => dense(normed, `self_attn.${part}`));
    const collected = attention(queries, keys, values,
      { rows, heads, kvHeads: heads, size, visible: () => rows });
    add(x, dense(collected, "self_attn.out_proj"));
    const inner = gelu(dense(norm("final_layer_norm"), "fc1"));
    add(x, dense(inner, "fc2"));
  }

  // The vectors of one chunk: features (frames, bands), at most 2 s → (frames / 4, width).
  async function encodeChunk(features, frames, weights, sizes) {
    const get = part => weights[`audio_tower.${part}`];
    let x = gelu(convolution(features, frames, get("conv1.weight"), get("conv1.bias"), 1));
    x = gelu(convolution(x, frames, get("conv2.weight"), get("conv2.bias"), 2)); // 50 a second
    const width = get("ln_post.weight").length;
    const rows = x.length / width;
    addPositions(x, width);
    for (let i = 0; i < sizes.layers; i++) {
      layer(x, rows, weights, `audio_tower.layers.${i}`, sizes.heads);
      await soundmind.pause();
    }
    const pairs = Math.floor(rows / 2); // the mean of each two: 25 a second
    const pooled = new Float32Array(pairs * width);
    for (let i = 0; i < pooled.length; i++) {
      const from = 2 * width * Math.floor(i / width) + i % width;
      pooled[i] = (x[from] + x[from + width]) / 2;
    }
    if (!pairs) return pooled;
    const normed = layerNorm(pooled, get("ln_post.weight"), get("ln_post.bias"));
    return linear(normed, pairs, get("proj.weight"), get("proj.bias"));
  }

  // The vectors of a clip: features (frames, bands) → (25 a second, width of the language model).
  async function encode(features, weights, sizes) {
    const { bands } = sizes;
    const frames = features.length / bands;
    const chunks = [];
    for (let start = 0; start < frames; start += sizes.chunk) {
      const end = Math.min(frames, start + sizes.chunk);
      const chunk = features.slice(start * bands, end * bands);
      chunks.push(await encodeChunk(chunk, end - start, weights, sizes));
    }
    return joined(chunks);
  }

  return { encode };
})();
