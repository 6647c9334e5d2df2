// The language model of Qwen2.5-Omni's thinker: vectors of words and sound in, the next word out.
"use strict";
soundmind.decoder = (() => {
  const { linear, add, rmsNorm, swiglu, attention } = soundmind.layers;

  // Turns each pair of coordinates (i, i + size / 2) of a head by an angle that grows with the
  // position, so that the product of a query and a key depends on how far they are apart (RoPE).
  //
  // Qwen2.5-Omni has three positions, of time, height and width. For words and sound they are
  // equal; only pictures make them differ. Angles are float32, as PyTorch's.
  function rotate(x, start, width, size, theta) {
    const half = size / 2;
    for (let i = 0; i < half; i++) {
      const frequency = Math.fround(1 / Math.fround(theta ** (2 * i / size)));
      for (let row = 0; row * width < x.length; row++) {
        const angle = Math.fround((start + row) * frequency);
        const cosine = Math.cos(angle), sine = Math.sin(angle);
        for (let at = row * width + i; at < (row + 1) * width; at += size) {
          const u = x[at], v = x[at + half];
          x[at] = u * cosine - v * sine;
          x[at + half] = v * cosine + u * sine;
        }
      }
    }
  }

  // One decoder layer, in place. The keys and values of these rows join those of all earlier
  // positions, which the cache keeps: they never change, so they are computed once.
  function layer(x, rows, cache, weights, name, sizes) {
    const get = part => weights[`${name}.${part}`];
    const { heads, kvHeads, epsilon, theta } = sizes;
    const size = x.length / rows / heads;
    const normed = rmsNorm(x, get("input_layernorm.weight"), epsilon);
    const project = part =>
      linear(normed, rows, get(`self_attn.${part}.weight`), get(`self_attn.${part}.bias`));
    const queries = project("q_proj"), keys = project("k_proj");
    rotate(queries, cache.length, heads * size, size, theta);
    rotate(keys, cache.length, kvHeads * size, size, theta);
    const kept = cache.layers[name];
    kept.keys.set(keys, cache.length * kvHeads * size);
    kept.values.set(project("v_proj"), cache.length * kvHeads * size);
    const visible = row => cache.length + row + 1;
    const collected = attention(queries, kept.keys, kept.values,
      { rows, heads, kvHeads, size, visible });
    add(x, linear(collected, rows, get("self_attn.o_proj.weight")));

    const again = rmsNorm(x, get("post_attention_layernorm.weight"), epsilon);
    const gate = linear(again, rows, get("mlp.gate_proj.weight"));
    const up = linear(again, rows, get("mlp.up_proj.weight"));
    add(x, linear(swiglu(gate, up), rows, get("mlp.down_proj.weight")));
  }

  const names = sizes => Array.from({ length: sizes.layers }, (_, i) => `model.layers.${i}`);

  // An empty KV cache with room for a number of positions.
  function emptyCache(positions, weights, sizes) {
    const layers = {};
    for (const name of names(sizes)) {
      const width = weights[`${name}.self_attn.k_proj.bias`].length;
      const room = () => new Float32Array(positions * width);
      layers[name] = { keys: room(), values: room() };
    }
    return { length: 0, layers };
  }

  // Reads vectors (rows, width) behind what the cache holds, and returns the last row's logits:
  // a score for each token to be the next. `x` is overwritten.
  function nextLogits(x, cache, weights, sizes) {
    const embeddings = weights["model.embed_tokens.weight"];
    const width = weights["model.norm.weight"].length;
    const rows = x.length / width;
    for (const name of names(sizes)) layer(x, rows, cache, weights, name, sizes);
    cache.length += rows;
    const last = rmsNorm(x.slice(-width), weights["model.norm.weight"], sizes.epsilon);
    return linear(last, 1, embeddings); // the head's weights are the embeddings'
  }

  return { emptyCache, nextLogits };
})();
