"use strict";
soundmind.labs.reward_lab = async options => soundmind.make("div", { class: "lab" }, options.completion);
