// The labs of the pages: what they share, and the loader that starts each as it comes into view.
//
// A page holds <div data-live="NAME" data-options='{…}'>a static picture</div>. When it is near the
// window, the scripts of the lab are loaded and `soundmind.labs.NAME(options)` returns the element
// (or a promise of it) that takes the picture's place. Without JavaScript the picture stays.
// Scripts, not modules or fetch: browsers refuse those for pages that are opened from a folder.
"use strict";
const soundmind = { labs: {}, data: {} };

(() => {
  const here = new URL(".", document.currentScript.src);
  const loading = new Map();

  // Runs the script NAME.js of this folder, once. Rejects if it can't be loaded.
  soundmind.script = name => {
    if (!loading.has(name)) {
      loading.set(name, new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = new URL(`${name}.js`, here);
        script.onload = () => done();
        script.onerror = () => {
          loading.delete(name); // so that the next try is one
          script.remove();
          failed(new Error(`${name}.js can't be loaded`));
        };
        document.head.append(script);
      }));
    }
    return loading.get(name);
  };

  // What `publish` wrote under that name for the labs.
  soundmind.load = async name => {
    await soundmind.script(`data/${name}`);
    return soundmind.data[name];
  };

  // The address of a file beside the data, such as a clip.
  soundmind.file = name => new URL(`data/${name}`, here).href;

  // An element: make("p", { class: "lab-note" }, "text", another). Text is never read as HTML.
  soundmind.make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value != null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const { make } = soundmind;

  // A labelled range. `changed` gets its number.
  soundmind.slider = (label, { min, max, step = 1, value }, changed) => {
    const shown = make("output", {}, String(value));
    const input = make("input", { type: "range", min, max, step, value });
    input.addEventListener("input", () => {
      shown.textContent = input.value;
      changed(Number(input.value));
    });
    return make("label", { class: "lab-control" }, make("span", {}, label), input, shown);
  };

  // A labelled list of [value, words] to choose from. `changed` gets the value, a string.
  soundmind.choice = (label, options, value, changed) => {
    const select = make("select", {}, ...options.map(([key, words]) =>
      make("option", { value: key, selected: String(key) === String(value) }, words)));
    select.addEventListener("change", () => changed(select.value));
    return make("label", { class: "lab-control" }, make("span", {}, label), select);
  };

  // A bar from 0 to `maximum`; `kind` is a class that gives its colour.
  soundmind.bar = (value, maximum, kind = "") => {
    const width = `${Math.max(0, Math.min(100, 100 * value / maximum))}%`;
    const inside = make("span", { class: kind, style: `width:${width}` });
    return make("span", { class: "lab-bar", "aria-hidden": "true" }, inside);
  };

  // A bar around a middle line: to the right for positive values, to the left for negative ones.
  soundmind.signedBar = (value, largest) => {
    const width = largest ? 50 * Math.min(1, Math.abs(value) / largest) : 0;
    const style = `width:${width}%; margin-left:${value < 0 ? 50 - width : 50}%`;
    const inside = make("span", { class: value < 0 ? "negative" : "", style });
    return make("span", { class: "lab-bar signed", "aria-hidden": "true" }, inside);
  };

  async function start(box) {
    const name = box.dataset.live;
    try {
      await soundmind.script(name);
      box.replaceChildren(await soundmind.labs[name](JSON.parse(box.dataset.options || "{}")));
      box.classList.add("is-live");
    } catch (error) {
      box.append(make("p", { class: "lab-note" }, `This part can't run here: ${error.message}`));
    }
  }

  // A lab that starts above the section that a link names pushes that section away. Goes there
  // again whenever the page has grown, for five seconds or until the reader touches it.
  function keepAim() {
    let section = null, timer;
    function aim(hash = "") {
      section = document.getElementById(decodeURIComponent(hash.slice(1)));
      clearTimeout(timer);
      timer = setTimeout(() => { section = null; }, 5000);
    }
    for (const event of ["pointerdown", "touchstart", "wheel", "keydown"]) {
      addEventListener(event, () => aim(), { passive: true });
    }
    addEventListener("click", ({ target }) => aim(target.closest("a[href^='#']")?.hash));
    const [{ type }] = performance.getEntriesByType("navigation");
    if (type === "navigate") aim(location.hash); // else the browser restores the place
    new ResizeObserver(() => section?.scrollIntoView({ behavior: "instant" }))
      .observe(document.querySelector("article") ?? document.body); // furo's body keeps its height
  }

  addEventListener("DOMContentLoaded", () => {
    const observer = new IntersectionObserver(entries => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        start(target);
      }
    }, { rootMargin: "300px" });
    document.querySelectorAll("[data-live]").forEach(box => observer.observe(box));
    keepAim();
  });
})();
