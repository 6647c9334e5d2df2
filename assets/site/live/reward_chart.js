// The mean reward of each step as a line, with a mark at the step that is shown. A click or a tap
// chooses a step. Drawn for the width it has, so that its words keep their size on a phone.
"use strict";
soundmind.rewardChart = (() => {
  const HEIGHT = 120, LEFT = 28, RIGHT = 10, TOP = 10, BOTTOM = 24; // px
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Where a step (from 1) and a reward are, in px of a chart of that width.
  const places = (width, steps, maximum) => ({
    x: step => LEFT + (width - LEFT - RIGHT) * (step - 1) / (steps - 1),
    y: reward => TOP + (HEIGHT - TOP - BOTTOM) * (1 - reward / maximum),
  });

  // The step nearest to a place, in px from the left edge of a chart of that width.
  function stepAt(place, width, steps) {
    const share = (place - LEFT) / (width - LEFT - RIGHT);
    return 1 + Math.round(Math.max(0, Math.min(1, share)) * (steps - 1));
  }

  function drawn(rewards, maximum, step, width) {
    const { x, y } = places(width, rewards.length, maximum);
    const across = reward => svg("line", {
      class: "chart-grid", x1: LEFT, x2: width - RIGHT, y1: y(reward), y2: y(reward) });
    const words = (text, left, top, anchor) =>
      svg("text", { x: left, y: top, "text-anchor": anchor }, text);
    const points = rewards.map((reward, i) => `${x(i + 1)},${y(reward)}`).join(" ");
    return [
      ...[0, maximum / 2, maximum].flatMap(reward =>
        [across(reward), words(String(reward), LEFT - 6, y(reward) + 4, "end")]),
      words("step 1", LEFT, HEIGHT - 6, "start"),
      words(`step ${rewards.length}`, width - RIGHT, HEIGHT - 6, "end"),
      svg("line", { class: "chart-mark", x1: x(step), x2: x(step), y1: TOP, y2: HEIGHT - BOTTOM }),
      svg("polyline", { class: "chart-line", points }),
      svg("circle", { class: "chart-dot", cx: x(step), cy: y(rewards[step - 1]), r: 5 }),
    ];
  }

  // {element, show}: `show(step)` moves the mark; `chosen` gets the step of a click.
  return (rewards, maximum, chosen) => {
    const picture = svg("svg", { class: "lab-chart", role: "img", height: HEIGHT });
    let step = 1, width = 600;

    function redraw() {
      picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      picture.setAttribute("aria-label", `Mean reward over ${rewards.length} steps: `
        + `${rewards[0].toFixed(2)} at the first, ${rewards[step - 1].toFixed(2)} at step ${step}, `
        + `${rewards.at(-1).toFixed(2)} at the last, ${maximum} at most`);
      picture.replaceChildren(...drawn(rewards, maximum, step, width));
    }
    picture.addEventListener("click", event => {
      const { left } = picture.getBoundingClientRect();
      chosen(stepAt(event.clientX - left, width, rewards.length));
    });
    new ResizeObserver(([{ contentRect }]) => {
      if (contentRect.width) width = contentRect.width;
      redraw();
    }).observe(picture);
    redraw();
    return {
      element: picture,
      show(number) {
        step = number;
        redraw();
      },
    };
  };
})();
