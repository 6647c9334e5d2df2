// The layers that tiny_omni's two networks share: matrix product, norms, activations, attention.
//
// A matrix is one Float32Array, row after row: (rows, columns) says how it is read. What PyTorch
// does in float32 is computed here in JavaScript's numbers (float64) and stored in float32.
"use strict";
soundmind.layers = (() => {
  // x Wᵀ + bias: x (rows, inputs), W (outputs, inputs), bias (outputs) or none → (rows, outputs).
  // The number of outputs must be even.
  function linear(x, rows, weight, bias = null) {
    const inputs = x.length / rows;
    const outputs = weight.length / inputs;
    const y = new Float32Array(rows * outputs);
    let row = 0;
    for (; row + 1 < rows; row += 2) twoRows(x, row * inputs, weight, inputs, y, row * outputs);
    if (row < rows) oneRow(x, row * inputs, weight, inputs, y, row * outputs);
    if (bias) for (let i = 0; i < y.length; i++) y[i] += bias[i % outputs];
    return y;
  }

  // Row `from` of x, times W → row `to` of y; both are offsets in the arrays.
  function oneRow(x, from, weight, inputs, y, to) {
    for (let start = 0; start < weight.length; start += inputs) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += x[from + i] * weight[start + i];
      y[to++] = sum;
    }
  }

  // Two rows by two outputs at a time, twice as fast: what was read once is used twice.
  function twoRows(x, from, weight, inputs, y, to) {
    const outputs = weight.length / inputs;
    let start = 0;
    for (; start + inputs < weight.length; start += 2 * inputs) {
      let a0 = 0, a1 = 0, b0 = 0, b1 = 0;
      for (let i = 0; i < inputs; i++) {
        const a = x[from + i], b = x[from + inputs + i];
        const w0 = weight[start + i], w1 = weight[start + inputs + i];
        a0 += a * w0; a1 += a * w1; b0 += b * w0; b1 += b * w1;
      }
      y[to] = a0; y[to + 1] = a1; y[to + outputs] = b0; y[to + outputs + 1] = b1;
      to += 2;
    }
  }

  // The arrays, one behind the other: joined matrices of equal width are one of all their rows.
  function joined(arrays) {
    const result = new Float32Array(arrays.reduce((total, array) => total + array.length, 0));
    let at = 0;
    for (const array of arrays) {
      result.set(array, at);
      at += array.length;
    }
    return result;
  }

  // x += y
  function add(x, y) {
    for (let i = 0; i < x.length; i++) x[i] += y[i];
  }

  // Each row without its mean and by its standard deviation, then scaled and moved.
  function layerNorm(x, weight, bias, epsilon = 1e-5) {
    const width = weight.length;
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += width) {
      let mean = 0, variance = 0;
      for (let i = 0; i < width; i++) mean += x[start + i] / width;
      for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
      const scale = 1 / Math.sqrt(variance + epsilon);
      for (let i = 0; i < width; i++) {
        y[start + i] = (x[start + i] - mean) * scale * weight[i] + bias[i];
      }
    }
    return y;
  }

  // Each row by its root mean square, then scaled: a layer norm without mean and bias.
  function rmsNorm(x, weight, epsilon) {
    const width = weight.length;
    const y = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += width) {
      let square = 0;
      for (let i = 0; i < width; i++) square += x[start + i] ** 2;
      const scale = 1 / Math.sqrt(square / width + epsilon);
      for (let i = 0; i < width; i++) y[start + i] = x[start + i] * scale * weight[i];
    }
    return y;
  }

  // The error function, by its series 2x/√π · e^(-x²) · Σ (2x²)ⁿ / (1·3·5···(2n+1)).
  function erf(x) {
    if (Math.abs(x) > 5) return Math.sign(x); // nearer to ±1 than 1e-11
    let term = 1, sum = 1;
    for (let n = 1; term > 1e-12 * sum; n++) {
      term *= 2 * x * x / (2 * n + 1);
      sum += term;
    }
    return 2 / Math.sqrt(Math.PI) * x * Math.exp(-x * x) * sum;
  }

  // x · Φ(x), in place; Φ is the normal distribution's.
  function gelu(x) {
    for (let i = 0; i < x.length; i++) x[i] *= (1 + erf(x[i] * Math.SQRT1_2)) / 2;
    return x;
  }

  // gate · σ(gate) · up, in place of gate: the middle of a SwiGLU.
  function swiglu(gate, up) {
    for (let i = 0; i < gate.length; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i]));
    return gate;
  }

  // What each row of queries (rows, heads · size) collects from the values, weighted by how well
  // the keys match it: softmax(q·k / √size)·v for each head → (rows, heads · size).
  //
  // keys and values (seen, kvHeads · size): where there are fewer of their heads, neighbouring
  // queries share one (grouped-query attention). `visible(row)` is the number of keys that a row
  // may see: all of a chunk of audio, and of a text no more than what was written before.
  function attention(queries, keys, values, { rows, heads, kvHeads, size, visible }) {
    const result = new Float32Array(rows * heads * size);
    const width = kvHeads * size;
    const scores = new Float64Array(visible(rows - 1));
    for (let row = 0; row < rows; row++) {
      const seen = visible(row);
      for (let head = 0; head < heads; head++) {
        const from = (row * heads + head) * size;
        const shared = Math.floor(head * kvHeads / heads) * size;
        let largest = -Infinity, total = 0;
        for (let j = 0; j < seen; j++) {
          const key = j * width + shared;
          let even = 0, odd = 0; // two sums, which a processor adds side by side
          for (let i = 0; i < size; i += 2) {
            even += queries[from + i] * keys[key + i];
            odd += queries[from + i + 1] * keys[key + i + 1];
          }
          scores[j] = (even + odd) / Math.sqrt(size);
          if (scores[j] > largest) largest = scores[j];
        }
        for (let j = 0; j < seen; j++) {
          scores[j] = Math.exp(scores[j] - largest);
          total += scores[j];
        }
        for (let i = 0; i < size; i += 2) {
          let even = 0, odd = 0;
          for (let j = 0; j < seen; j++) {
            even += scores[j] * values[j * width + shared + i];
            odd += scores[j] * values[j * width + shared + i + 1];
          }
          result[from + i] = even / total;
          result[from + i + 1] = odd / total;
        }
      }
    }
    return result;
  }

  return { linear, joined, add, layerNorm, rmsNorm, gelu, swiglu, attention };
})();
