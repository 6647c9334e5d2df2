// A picture of mel features: time to the right, low bands at the bottom, the louder the brighter.
"use strict";
soundmind.melPicture = (features, bands) => {
  const frames = features.length / bands;
  const canvas = soundmind.make("canvas", {
    class: "mel-picture", width: frames, height: bands, role: "img",
    "aria-label": `The sound as the model gets it: ${frames} columns of ${bands} bands`,
  });
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, bands);
  const loudest = features.reduce((a, b) => Math.max(a, b));
  for (let frame = 0; frame < frames; frame++) {
    for (let band = 0; band < bands; band++) {
      const share = 1 - (loudest - features[frame * bands + band]) / 2; // all are within 2 of it
      const at = 4 * ((bands - 1 - band) * frames + frame);
      image.data.set([255, 240, 190, 255 * share], at); // on the dark ground that live.css sets
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
};
